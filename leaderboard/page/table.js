/* The ranking. */
const Table = (() => {
  const { h, s, get, put, number, rank, percent, spread, score, name, head, plain, rowHead, region, choice } = Dom;

  const columns = ({ data, board, whole }) =>
    [
      { id: "name", head: "Method", sort: true, kind: "name", value: ({ line }) => line.name.toLowerCase() },
      {
        id: "median",
        head: "Median rank",
        sort: true,
        title: "Over the tasks that the method ran; lower is better",
        value: (standing) => standing.medianRank,
      },
      data.statistics &&
        whole && {
          id: "low",
          head: "95 % interval",
          sort: true,
          kind: "interval",
          title: "Of the median rank, by bootstrap over tasks and seeds",
          value: ({ line }) => data.statistics.rank_interval[line.id]?.[0] ?? NaN,
        },
      data.statistics &&
        whole && {
          id: "ties",
          head: "Ties",
          sort: true,
          title: "Methods that share a letter cannot be told apart",
          value: ({ line }) => data.statistics.tie_group[line.id] ?? "",
        },
      { id: "mean", head: "Mean rank", sort: true, value: (standing) => standing.meanRank },
      {
        id: "gain",
        head: ["Better", board.baseline && h("small", null, "than ", name(short(data, board.baseline)))],
        sort: true,
        title: board.baseline
          ? `Median over tasks of the error saved against ${board.baseline}`
          : "No method to compare with is shown",
        value: (standing) => standing.improvement ?? NaN,
        best: "high",
      },
      ...data.ends.map((end, index) => ({
        id: `area${index}`,
        head: `Area τ≤${end}`,
        sort: true,
        title: `Area below the performance profile up to ${end} times the best error; 1 is best everywhere`,
        value: (standing) => standing.areas[index],
        best: "high",
      })),
      { id: "tasks", head: "Tasks", sort: true, value: (standing) => standing.nTasks },
      ...board.tasks.map((id, index) => {
        const task = data.tasks.find((one) => one.id === id);
        return {
          id: `task.${id}`,
          head: [task.name, h("small", null, `${task.short} ${task.lower ? "↓" : "↑"}`)],
          sort: true,
          kind: "task",
          task,
          index,
          title:
            `${task.name}: ${task.metric}, ${task.unit}; ${task.lower ? "lower" : "higher"} is better. ` +
            "Sorts by error",
          value: (standing) => standing.errors[index],
        };
      }),
    ].filter(Boolean);

  const short = (data, id) => {
    const signs = [...data.lines.find((line) => line.id === id).name];
    return signs.length > 14 ? `${signs.slice(0, 13).join("")}…` : signs.join("");
  };

  const compare = (a, b) => {
    if (typeof a === "string") return a < b ? -1 : Number(a > b);
    return a === b ? 0 : a - b;
  };
  const missing = (value) => value === "" || Number.isNaN(value);

  /* Rows in the order asked for; what has no value stands last either way, equal rows keep the board's order. */
  const sorted = (standings, column, down) =>
    [...standings].sort((a, b) => {
      const [left, right] = [column.value(a), column.value(b)];
      if (missing(left) || missing(right)) return Number(missing(left)) - Number(missing(right));
      return (down ? -1 : 1) * compare(left, right) || standings.indexOf(a) - standings.indexOf(b);
    });

  /* A rank interval as text and as a small bar on the scale from 1 to the last place. */
  const interval = (view, standing) => {
    const ends = view.data.statistics.rank_interval[standing.line.id];
    if (!ends) return "–";
    const last = Math.max(2, view.board.standings.length);
    const x = (value) => 3 + (54 * (value - 1)) / (last - 1);
    return [
      h("span", null, `${rank(ends[0])}–${rank(ends[1])}`),
      s(
        "svg",
        { class: "bar", viewBox: "0 0 60 10", width: 60, height: 10, "aria-hidden": "true" },
        s("line", { x1: 3, x2: 57, y1: 5, y2: 5, class: "track" }),
        s("line", { x1: x(ends[0]), x2: x(ends[1]), y1: 5, y2: 5, class: "range" }),
        s("circle", { cx: x(standing.medianRank), cy: 5, r: 3 }),
      ),
    ];
  };

  const cell = (view, standing, column) => {
    const value = standing.line.cells[column.task.id];
    if (!value) return h("td", { class: "task none" }, "–");
    const place = standing.ranks[column.index];
    const best = standing.ratios[column.index] === 1;
    const text = {
      score: () => [score(value, column.task), h("small", null, spread(value, column.task))],
      rank: () => rank(place),
      ratio: () => number(standing.ratios[column.index], 2),
    }[view.state.cells]();
    const mark = value.notes.length
      ? h("sup", { title: value.notes.map((at) => view.data.texts[at]).join(" ") }, "†")
      : null;
    return h("td", { class: `task${best ? " best" : ""}` }, h("span", { class: "number" }, text, mark));
  };

  /* A number over fewer tasks than all, as in the paper. */
  const starred = (view, standing, text) =>
    standing.nTasks < view.board.tasks.length && text !== "–" ? `${text}*` : text;

  const row = (view, standing, shown) =>
    h(
      "tr",
      null,
      shown.map((column) => {
        const { line } = standing;
        switch (column.id) {
          case "name":
            return rowHead(
              h(
                "button",
                {
                  type: "button",
                  class: "method",
                  "data-key": `method:${line.id}`,
                  "aria-haspopup": "dialog",
                  onclick: () => Method.open(view, line),
                },
                view.swatch(line),
                name(line.name),
              ),
              h("small", null, name(line.kind)),
            );
          case "low":
            return h("td", { class: "interval" }, interval(view, standing));
          case "ties":
            return h("td", null, view.data.statistics.tie_group[line.id] ?? "–");
          case "median":
            return h("td", { class: "lead-number" }, starred(view, standing, rank(standing.medianRank)));
          case "mean":
            return h("td", null, starred(view, standing, number(standing.meanRank, 2)));
          case "gain":
            return h("td", null, starred(view, standing, percent(standing.improvement)));
          case "tasks":
            return h(
              "td",
              { class: standing.nTasks < view.board.tasks.length ? "partial" : null },
              standing.nTasks < view.board.tasks.length ? `on ${standing.nTasks}` : "all",
            );
          default:
            return column.task ? cell(view, standing, column) : h("td", null, number(column.value(standing), 3));
        }
      }),
    );

  const draw = (view) => {
    const { state, board } = view;
    const all = columns(view);
    const by = all.find((column) => column.id === state.sort.by) ?? all.find((column) => column.id === "median");
    const onSort = (id) => {
      const column = all.find((one) => one.id === id);
      const first = column.best === "high";
      view.set({ sort: { by: id, down: id === state.sort.by ? !state.sort.down : first } });
    };
    put(
      get("board-tools"),
      choice(
        "Cells show",
        "cells",
        [
          ["score", "score"],
          ["rank", "rank"],
          ["ratio", "error ÷ best"],
        ],
        state.cells,
        (cells) => view.set({ cells }),
      ),
    );
    const rows = sorted(board.standings, by, state.sort.down);
    put(
      get("board-table"),
      h(
        "caption",
        { class: "unseen" },
        `${board.standings.length} methods on ${board.tasks.length} tasks, sorted by ${by.id}`,
      ),
      head(all, { by: by.id, down: state.sort.down }, onSort),
      h(
        "tbody",
        null,
        rows.length
          ? rows.map((standing) => row(view, standing, all))
          : h(
              "tr",
              null,
              h("td", { colspan: all.length, class: "empty" }, "Nothing to rank: choose methods and tasks above."),
            ),
      ),
    );
    put(
      get("board-notes"),
      notes(view).map((text) => h("p", null, text)),
    );
    put(get("unranked"), unranked(view));
  };

  const notes = (view) => {
    const { board, data } = view;
    const texts = [];
    if (data.statistics && !view.whole) {
      texts.push(
        "Intervals and ties are of the whole board, and left out while a part of it is chosen. Reset shows them.",
      );
    }
    if (board.standings.some((standing) => standing.nTasks < board.tasks.length)) {
      texts.push(
        "* A method that did not run every task is ranked over those that it ran, and gains no area on the others.",
      );
    }
    if (board.standings.some(({ line }) => board.tasks.some((task) => line.cells[task]?.notes.length))) {
      texts.push("† has a note: see the method, the task, or Provenance.");
    }
    return texts;
  };

  /* Lines whose conditions differ, with the place that each would have on a task alone. */
  const unranked = (view) => {
    const { data, board } = view;
    if (!board.unranked.length) return [];
    const rows = board.unranked.flatMap((line) =>
      board.tasks
        .filter((task) => line.cells[task])
        .map((task) => {
          const spec = data.tasks.find((one) => one.id === task);
          const value = line.cells[task];
          const others = board.standings
            .map((standing) => Ranks.errorOf(standing.line.cells[task]))
            .filter((error) => !Number.isNaN(error));
          const place = Ranks.taskRanks([Ranks.errorOf(value), ...others])[0];
          return h(
            "tr",
            null,
            rowHead(name(line.name)),
            h("td", { class: "text" }, spec.name),
            h("td", null, score(value, spec), " ", h("small", null, spread(value, spec))),
            h("td", null, value.n),
            h("td", null, `${rank(place)} of ${others.length + 1}`),
          );
        }),
    );
    return [
      h("h3", null, "Not ranked, for the conditions differ"),
      region(
        "Not ranked",
        h(
          "table",
          { class: "narrow" },
          plain([["Method", "name"], ["Task", "text"], ["Score"], ["Seeds"], ["Would be"]], rows),
        ),
      ),
    ];
  };

  return { draw, sorted, columns };
})();
