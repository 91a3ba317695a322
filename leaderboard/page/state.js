/* What the reader chose, kept in the address behind the #, so that a view can be shared. */
const State = (() => {
  const list = (text, known) => {
    const wanted = text.split(",").map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return "";
      }
    });
    return known.filter((id) => wanted.includes(id));
  };
  const join = (ids) => ids.map(encodeURIComponent).join(",");

  const initial = (data) => ({
    tasks: data.tasks.map((task) => task.id),
    methods: data.lines.map((line) => line.id),
    include: [...data.included],
    baseline: data.baseline,
    sort: { by: "median", down: false },
    cells: "score",
    task: data.tasks[0]?.id ?? null,
    tau: String(Math.max(...data.ends)),
    cost: null,
    hidden: [],
  });

  /* Reads the address; what it does not know is left as it is. */
  const read = (data, hash) => {
    const state = initial(data);
    const parts = new Map(
      hash
        .replace(/^#/, "")
        .split("&")
        .map((part) => {
          const at = part.indexOf("=");
          return [part.slice(0, at), part.slice(at + 1)];
        }),
    );
    const marks = [...new Set(data.lines.flatMap((line) => line.marks))];
    const lines = data.lines.map((line) => line.id);
    const one = (key, known) => (parts.has(key) ? (list(parts.get(key), known)[0] ?? state[key]) : state[key]);
    if (parts.has("tasks")) state.tasks = list(parts.get("tasks"), state.tasks);
    if (parts.has("methods")) state.methods = list(parts.get("methods"), lines);
    if (parts.has("include")) state.include = list(parts.get("include"), marks);
    if (parts.has("hidden")) state.hidden = list(parts.get("hidden"), lines);
    state.baseline = one("baseline", lines);
    state.cells = one("cells", ["score", "rank", "ratio"]);
    state.task = one(
      "task",
      data.tasks.map((task) => task.id),
    );
    state.tau = one("tau", ["2", "4", "10", "all"]);
    state.cost = one("cost", ["gpu_hours", "parameters"]);
    const [by, direction] = (parts.get("sort") ?? "").split(":");
    const columns = [
      "name",
      "median",
      "mean",
      "low",
      "ties",
      "gain",
      "tasks",
      ...data.ends.map((_, i) => `area${i}`),
      ...data.tasks.map((task) => `task.${task.id}`),
    ];
    if (columns.includes(by)) state.sort = { by, down: direction === "down" };
    return state;
  };

  const write = (data, state) => {
    const usual = initial(data);
    const parts = [];
    for (const key of ["tasks", "methods", "include", "hidden"]) {
      if (join(state[key]) !== join(usual[key])) parts.push(`${key}=${join(state[key])}`);
    }
    for (const key of ["baseline", "cells", "task", "tau", "cost"]) {
      if (state[key] !== usual[key]) parts.push(`${key}=${encodeURIComponent(state[key])}`);
    }
    if (state.sort.by !== usual.sort.by || state.sort.down)
      parts.push(`sort=${state.sort.by}:${state.sort.down ? "down" : "up"}`);
    return parts.length ? `#${parts.join("&")}` : "";
  };

  return { initial, read, write };
})();
