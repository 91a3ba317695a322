/* Mean error against what it cost, with the front of the lines that no other beats in both. */
const Cost = (() => {
  const { h, s, get, put, number, name, plain, rowHead, region, choice } = Dom;
  const pad = { left: 48, right: 24, top: 16, bottom: 42 };
  const height = 340;
  const measures = { gpu_hours: "GPU-hours a task", parameters: "Parameters" };
  let view;

  const short = (id) => {
    const signs = [...view.data.lines.find((line) => line.id === id).name];
    return signs.length > 24 ? `${signs.slice(0, 23).join("")}…` : signs.join("");
  };

  const amount = (value) => {
    for (const [size, letter] of [
      [1e9, " G"],
      [1e6, " M"],
      [1e3, " k"],
    ])
      if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
    return String(Number(value.toPrecision(3)));
  };

  /* Even ticks on a logarithmic axis: 1, 2, 5 of every power of ten, thinned where there are many. */
  const ticks = (low, high) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const digit of [1, 2, 5])
        if (digit * 10 ** power >= low && digit * 10 ** power <= high) found.push(digit * 10 ** power);
    }
    return found.length > 8 ? found.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9) : found;
  };

  const plot = (found, front, label) => {
    const width = Math.max(280, get("cost-plot").clientWidth || 720);
    const drawn = [...found].filter(([, point]) => Number.isFinite(point.error) && point.cost > 0);
    const costs = drawn.map(([, point]) => point.cost);
    const errors = drawn.map(([, point]) => point.error);
    const [low, high] = [Math.min(...costs) / 1.5, Math.max(...costs) * 1.5];
    const top = Math.max(1.2, ...errors) * 1.05;
    const x = (value) => pad.left + ((width - pad.left - pad.right) * Math.log(value / low)) / Math.log(high / low);
    const y = (value) => height - pad.bottom - ((height - pad.top - pad.bottom) * Math.log(value)) / Math.log(top);
    const steps = [1, 1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000].filter((value) => value <= top);
    const stair = front.map((id) => found.get(id)).filter((point) => point.cost > 0);
    const line = stair
      .map((point, index) => `${index ? `H${x(point.cost)}V${y(point.error)}` : `M${x(point.cost)},${y(point.error)}`}`)
      .join("");
    /* A label stands right, left, above or below of its point, where it covers nothing; else the table has it. */
    const boxes = drawn.map(([, point]) => [
      x(point.cost) - 6,
      y(point.error) - 6,
      x(point.cost) + 6,
      y(point.error) + 6,
    ]);
    const labelled = ([id, point]) => {
      const text = short(id);
      const [cx, cy, size] = [x(point.cost), y(point.error), 7 * [...text].length];
      for (const [left, base, anchor] of [
        [cx + 9, cy + 4, "start"],
        [cx - 9 - size, cy + 4, "end"],
        [cx - size / 2, cy - 10, "middle"],
        [cx - size / 2, cy + 18, "middle"],
      ]) {
        const box = [left, base - 10, left + size, base + 3];
        const inside = left >= pad.left && box[2] <= width && box[1] >= 0 && base <= height - pad.bottom;
        if (
          !inside ||
          boxes.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])
        )
          continue;
        boxes.push(box);
        return s(
          "text",
          { x: { start: left, end: left + size, middle: cx }[anchor], y: base, "text-anchor": anchor, class: "label" },
          text,
        );
      }
      return null;
    };
    const first = [...drawn].sort(([a], [b]) => Number(front.includes(b)) - Number(front.includes(a)));
    return s(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: "img",
        "aria-label": `Error against ${label}; its values stand in the table beside it`,
      },
      steps.map((value) => [
        s("line", { class: "grid", x1: pad.left, x2: width - pad.right, y1: y(value), y2: y(value) }),
        s("text", { x: pad.left - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)),
      ]),
      ticks(low, high).map((value) => [
        s("line", { class: "tick", x1: x(value), x2: x(value), y1: y(1), y2: y(1) + 4 }),
        s("text", { x: x(value), y: y(1) + 18, "text-anchor": "middle" }, amount(value)),
      ]),
      s(
        "text",
        { class: "axis", x: (width + pad.left) / 2, y: height - 4, "text-anchor": "middle" },
        `${label}, mean (logarithmic)`,
      ),
      s(
        "text",
        {
          class: "axis",
          x: 12,
          y: (height - pad.bottom) / 2,
          "text-anchor": "middle",
          transform: `rotate(-90 12 ${(height - pad.bottom) / 2})`,
        },
        "Error ÷ best, mean",
      ),
      stair.length > 1 ? s("path", { class: "front", d: line }) : null,
      drawn.map(([id, point]) => {
        const line = view.data.lines.find((one) => one.id === id);
        const full = point.nTasks === view.board.tasks.length;
        return s(
          "circle",
          { class: `point ${view.look(line)}${full ? "" : " open"}`, cx: x(point.cost), cy: y(point.error), r: 5 },
          s("title", null, `${line.name}: ${amount(point.cost)}, ${number(point.error, 3)}`),
        );
      }),
      first.map(labelled),
    );
  };

  const draw = (now) => {
    view = now;
    const { board, state } = view;
    const known = Object.keys(measures).filter((measure) => Costs.points(board.standings, board.tasks, measure).size);
    if (!known.length) {
      put(get("cost-tools"));
      put(
        get("cost-body"),
        h(
          "p",
          { class: "muted" },
          "No method that is shown states what it cost. Result files of own runs do; papers rarely print it.",
        ),
      );
      return;
    }
    const measure = known.includes(state.cost) ? state.cost : known[0];
    put(
      get("cost-tools"),
      known.length > 1
        ? choice(
            "Cost",
            "cost",
            known.map((id) => [id, measures[id]]),
            measure,
            (cost) => view.set({ cost }),
          )
        : null,
    );
    const found = Costs.points(board.standings, board.tasks, measure);
    const front = Costs.front(found, board.tasks.length);
    const silent = board.standings.filter(({ line }) => !found.has(line.id)).length;
    put(
      get("cost-body"),
      h(
        "p",
        { class: "lead" },
        `Both axes are means over the tasks of which the cost is known. ` +
          `The line joins the methods that no other beats in both; ` +
          `only methods with a cost on all ${board.tasks.length} tasks are compared.`,
        silent ? ` ${silent} of the methods shown state no cost.` : "",
      ),
      h(
        "div",
        { class: "split" },
        h("div", { id: "cost-plot", class: "plot" }),
        region(
          "Costs",
          h(
            "table",
            null,
            plain(
              [["Method", "name"], [measures[measure]], ["Error ÷ best"], ["Tasks"], ["Front"]],
              [...found]
                .sort(([, a], [, b]) => a.cost - b.cost)
                .map(([id, point]) => {
                  const line = view.data.lines.find((one) => one.id === id);
                  return h(
                    "tr",
                    null,
                    rowHead(h("span", { class: "method" }, view.swatch(line), name(line.name))),
                    h("td", null, amount(point.cost)),
                    h("td", null, number(point.error, 3)),
                    h("td", null, `${point.nTasks}/${board.tasks.length}`),
                    h("td", null, front.includes(id) ? "yes" : "–"),
                  );
                }),
            ),
          ),
        ),
      ),
    );
    resize();
  };

  const resize = () => {
    const holder = get("cost-plot");
    if (!holder || !view) return;
    const measure =
      get("cost-tools").querySelector("input:checked")?.value ??
      Object.keys(measures).find((id) => Costs.points(view.board.standings, view.board.tasks, id).size);
    const found = Costs.points(view.board.standings, view.board.tasks, measure);
    const drawable = [...found.values()].some((point) => Number.isFinite(point.error) && point.cost > 0);
    put(
      holder,
      drawable
        ? plot(found, Costs.front(found, view.board.tasks.length), measures[measure])
        : h("p", { class: "muted" }, "Nothing finite to draw."),
    );
  };

  return { draw, resize };
})();
