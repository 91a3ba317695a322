/* How often each method beats each other, over the tasks and methods chosen. */
const Certainty = (() => {
  const { h, get, put, number, name, rowHead, region } = Dom;

  const matrix = (view) => {
    const { standings } = view.board;
    const cells = (a) =>
      standings.map((b) => {
        if (a === b) return h("td", { class: "none" }, "·");
        const rate = Ranks.winRate(a.errors, b.errors);
        // five steps of shade, so that no inline style is needed
        const shade = rate === null ? "" : `w${Math.round(rate * 4)}`;
        return h("td", { class: shade }, rate === null ? "–" : number(100 * rate, 0));
      });
    return h(
      "table",
      { class: "matrix" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col", class: "name" }, "beats, % of common tasks"),
          standings.map((_, index) =>
            h(
              "th",
              { scope: "col" },
              h("span", { "aria-hidden": "true" }, String(index + 1)),
              h("span", { class: "unseen" }, name(standings[index].line.name)),
            ),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        standings.map((standing, index) =>
          h(
            "tr",
            null,
            rowHead(
              h(
                "span",
                { class: "method" },
                h("span", { class: "muted", "aria-hidden": "true" }, `${index + 1} `),
                name(standing.line.name),
              ),
            ),
            cells(standing),
          ),
        ),
      ),
    );
  };

  const stability = (view) => {
    const { statistics, tasks } = view.data;
    if (!statistics || !view.whole || !Object.keys(statistics.without_task).length) return [];
    const shown = tasks.filter((task) => statistics.without_task[task.id]);
    return [
      h("h3", null, "Median rank without one task"),
      region(
        "Median rank without one task",
        h(
          "table",
          { class: "narrow" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              h("th", { scope: "col", class: "name" }, "Method"),
              h("th", { scope: "col" }, "all"),
              shown.map((task) => h("th", { scope: "col" }, `−\u00a0${task.name}`)),
            ),
          ),
          h(
            "tbody",
            null,
            view.board.standings.map((standing) =>
              h(
                "tr",
                null,
                rowHead(name(standing.line.name)),
                h("td", { class: "lead-number" }, Dom.rank(standing.medianRank)),
                shown.map((task) => {
                  const value = statistics.without_task[task.id][standing.line.id] ?? NaN;
                  return h("td", { class: value === standing.medianRank ? "muted" : "moved" }, Dom.rank(value ?? NaN));
                }),
              ),
            ),
          ),
        ),
      ),
    ];
  };

  const draw = (view) => {
    if (view.board.standings.length < 2) return put(get("certainty-body"));
    return put(
      get("certainty-body"),
      h("h3", null, "Win rates, ties counting half"),
      region("Win rates", matrix(view)),
      stability(view),
    );
  };

  return { draw };
})();
