"""Cards of the dataset repositories: prose by hand, one Markdown file a task."""
