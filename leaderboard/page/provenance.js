/* Every number that is shown, with where it comes from. */
const Provenance = (() => {
  const { h, get, put, spread, score, name, plain, rowHead } = Dom;

  const draw = (view) => {
    const rows = [...view.board.standings.map(({ line }) => line), ...view.board.unranked].flatMap((line) =>
      view.data.tasks
        .filter((task) => view.board.tasks.includes(task.id) && line.cells[task.id])
        .map((task) => {
          const cell = line.cells[task.id];
          return h(
            "tr",
            null,
            rowHead(name(line.name)),
            h("td", { class: "text" }, task.name),
            h("td", null, score(cell, task), " ", h("small", null, spread(cell, task))),
            h("td", { class: "text wide" }, Tasks.origin(view, cell)),
          );
        }),
    );
    put(
      get("provenance-table"),
      plain([["Method", "name"], ["Task", "text"], ["Score"], ["Source and notes", "text wide"]], rows),
    );
  };

  return { draw };
})();
