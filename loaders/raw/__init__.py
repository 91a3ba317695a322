"""Raw files as publishers distribute them, read as what comes from outside: fetched, unpacked, decoded."""
