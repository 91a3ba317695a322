/* The filters above the table. They are built once; their state is set on every redraw. */
const Controls = (() => {
  const { h, get, put, name, select } = Dom;

  const groups = (data) =>
    [
      ["All", () => true],
      ["1D", (task) => task.dims === 1],
      ["2D", (task) => task.dims === 2],
      ["Point", (task) => task.kind !== "dense"],
      ["Dense", (task) => task.kind === "dense"],
    ]
      .map(([label, wanted]) => [label, data.tasks.filter(wanted).map((task) => task.id)])
      .filter(([, ids]) => ids.length);

  const chips = (view, key, items) =>
    h(
      "div",
      { class: "chips" },
      items.map(([id, label, mark]) =>
        h(
          "label",
          { class: "chip" },
          h("input", {
            type: "checkbox",
            "data-key": `${key}:${id}`,
            checked: view.state[key].includes(id),
            onchange: (event) => {
              const chosen = new Set(view.state[key]);
              if (event.target.checked) chosen.add(id);
              else chosen.delete(id);
              view.set({ [key]: items.map(([item]) => item).filter((item) => chosen.has(item)) });
            },
          }),
          h("span", null, mark, label),
        ),
      ),
    );

  const quick = (view, key, sets) =>
    h(
      "div",
      { class: "quick" },
      sets.map(([label, ids]) =>
        h(
          "button",
          {
            type: "button",
            class: "link",
            "data-key": `quick:${key}:${label}`,
            "aria-label": `Choose ${key}: ${label}`,
            onclick: () => view.set({ [key]: ids }),
          },
          label,
        ),
      ),
    );

  const block = (label, key, open, ...content) => {
    const before = get(`filter-${key}`);
    return h(
      "details",
      { id: `filter-${key}`, open: before ? before.open : open },
      h("summary", null, label),
      h("div", { class: "block" }, content),
    );
  };

  const draw = (view) => {
    const { data, state } = view;
    const wide = window.innerWidth > 760;
    const lines = data.lines.map((line) => [line.id, name(line.name), view.swatch(line)]);
    const marks = [...new Set(data.lines.flatMap((line) => line.marks))];
    const bases = view.board.standings.map(({ line }) => [line.id, line.name]);
    if (!view.board.baseline) bases.unshift(["", "–"]);
    put(
      get("controls"),
      block(
        ["Tasks ", h("b", null, `${state.tasks.length} of ${data.tasks.length}`)],
        "tasks",
        wide,
        chips(
          view,
          "tasks",
          data.tasks.map((task) => [task.id, task.name]),
        ),
        quick(view, "tasks", groups(data)),
      ),
      block(
        ["Methods ", h("b", null, `${state.methods.length} of ${data.lines.length}`)],
        "methods",
        wide && lines.length <= 10,
        chips(view, "methods", lines),
        quick(view, "methods", [
          ["All", data.lines.map((line) => line.id)],
          ["None", []],
        ]),
      ),
      marks.length &&
        block(
          ["Conditions ", h("b", null, state.include.length ? state.include.join(", ") : "the benchmark’s")],
          "include",
          false,
          h("p", { class: "muted" }, "Results of other conditions are shown below the table. Tick to rank them too."),
          chips(
            view,
            "include",
            marks.map((mark) => [mark, mark]),
          ),
        ),
      h(
        "div",
        { class: "row" },
        select("Compare with", bases, view.board.baseline ?? "", (id) => view.set({ baseline: id })),
        h("span", { class: "space" }),
        h(
          "button",
          { type: "button", class: "quiet", "data-key": "csv", onclick: () => Downloads.csv(view) },
          "Download CSV",
        ),
        h(
          "button",
          { type: "button", class: "quiet", "data-key": "json", onclick: () => Downloads.json(view) },
          "Download JSON",
        ),
        h("button", { type: "button", class: "quiet", "data-key": "reset", onclick: () => view.reset() }, "Reset"),
      ),
    );
  };

  return { draw };
})();
