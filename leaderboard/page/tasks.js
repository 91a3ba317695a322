/* One task: every method's value with its seeds, its spread and its source. */
const Tasks = (() => {
  const { h, s, get, put, number, rank, spread, score, plural, name, plain, rowHead, select } = Dom;
  const width = 220;

  const seedScores = (cell, task) =>
    cell.seeds.filter((seed) => seed !== null).map((error) => (task.lower ? error : 1 - error));

  /* All values of a task on one axis. Returns score → x, or null where nothing can be drawn. */
  const scale = (cells, task) => {
    const values = cells
      .filter((cell) => cell.score !== null)
      .flatMap((cell) => [
        cell.score,
        cell.score - (cell.std ?? 0),
        cell.score + (cell.std ?? 0),
        ...seedScores(cell, task),
      ]);
    if (!values.length) return null;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (high === low ? width / 2 : 6 + ((width - 12) * (value - low)) / (high - low));
  };

  const strip = (cell, task, x) => {
    if (!x || cell.score === null) return null;
    const std = cell.std ?? 0;
    return s(
      "svg",
      { class: "strip", viewBox: `0 0 ${width} 18`, width, height: 18, "aria-hidden": "true" },
      s("line", { class: "track", x1: 0, x2: width, y1: 9, y2: 9 }),
      std ? s("line", { class: "range", x1: x(cell.score - std), x2: x(cell.score + std), y1: 9, y2: 9 }) : null,
      seedScores(cell, task).map((value) => s("circle", { class: "seed", cx: x(value), cy: 9, r: 2.5 })),
      s("line", { class: "mean", x1: x(cell.score), x2: x(cell.score), y1: 3, y2: 15 }),
    );
  };

  const seeds = (cell, task) => {
    const shown = cell.seeds.map((error) =>
      error === null ? "failed" : number(task.lower ? error : 1 - error, task.decimals + 1),
    );
    if (shown.length) return shown.join("  ");
    return cell.n > 1 ? `mean of ${cell.n}, as published` : "one, as published";
  };

  const origin = (view, cell) => [
    cell.sources.map((at) => h("p", null, name(view.data.texts[at]))),
    cell.notes.map((at) => h("p", { class: "note" }, "† ", name(view.data.texts[at]))),
    cell.failed ? h("p", { class: "note" }, `${cell.failed} of ${plural(cell.n, "seed")} failed`) : null,
  ];

  const draw = (view) => {
    const { data, state, board } = view;
    const task = data.tasks.find((one) => one.id === state.task) ?? data.tasks[0];
    if (!task) return;
    const names = data.tasks.map((one) => [one.id, one.name]);
    put(
      get("task-tools"),
      select("Task", names, task.id, (id) => view.set({ task: id })),
    );
    put(
      get("task-facts"),
      h(
        "p",
        { class: "lead" },
        `${task.summary}. ${task.metric} in ${task.unit}, ${task.lower ? "lower" : "higher"} is better; `,
        `compared at ${plural(task.decimals, "decimal")}. ${task.test} in the test split.`,
      ),
    );
    const at = board.tasks.indexOf(task.id);
    const rows = board.standings
      .map((standing) => ({
        line: standing.line,
        cell: standing.line.cells[task.id],
        place: at < 0 ? NaN : standing.ranks[at],
        ratio: at < 0 ? NaN : standing.ratios[at],
      }))
      .concat(board.unranked.map((line) => ({ line, cell: line.cells[task.id], place: NaN, ratio: NaN })))
      .filter(({ cell }) => cell)
      .sort((a, b) => Ranks.errorOf(a.cell) - Ranks.errorOf(b.cell) || 0);
    const x = scale(
      rows.map(({ cell }) => cell),
      task,
    );
    const heads = [
      ["Method", "name"],
      ["Rank"],
      ["Score"],
      ["± over seeds"],
      ["Error ÷ best"],
      ["Mean, spread, seeds", "text"],
      ["Seeds", "text"],
      ["Source and notes", "text wide"],
    ];
    put(
      get("task-table"),
      h(
        "table",
        null,
        h("caption", { class: "unseen" }, `${task.name}: methods by error`),
        plain(
          heads,
          rows.length
            ? rows.map(({ line, cell, place, ratio }) =>
                h(
                  "tr",
                  null,
                  rowHead(h("span", { class: "method" }, view.swatch(line), name(line.name))),
                  h("td", null, rank(place)),
                  h("td", { class: ratio === 1 ? "best" : null }, score(cell, task)),
                  h("td", null, spread(cell, task) || "–"),
                  h("td", null, number(ratio, 2)),
                  h("td", { class: "text" }, strip(cell, task, x)),
                  h("td", { class: "text seeds" }, seeds(cell, task)),
                  h("td", { class: "text wide" }, origin(view, cell)),
                ),
              )
            : h(
                "tr",
                null,
                h("td", { colspan: heads.length, class: "empty" }, "No method that is shown ran this task."),
              ),
        ),
      ),
    );
    if (at < 0)
      get("task-facts").append(
        h("p", { class: "muted" }, "This task is not among those chosen above, so it has no ranks here."),
      );
  };

  return { draw, origin, seeds };
})();
