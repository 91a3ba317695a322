/* The performance profile: curves drawn at the size they are shown, read off at a τ that pointer or keyboard move. */
const Profile = (() => {
  const { h, s, get, put, number, name, rowHead, select } = Dom;
  const pad = { left: 44, right: 14, top: 12, bottom: 40 };
  const height = 380;
  let tau = 1.5;
  let view;

  const end = () => {
    if (view.state.tau !== "all") return Number(view.state.tau);
    const finite = view.board.standings.flatMap((standing) => standing.ratios).filter(Number.isFinite);
    return Math.max(2, ...finite) * 1.02;
  };
  const ticks = (last) =>
    [1, 1.1, 1.25, 1.5, 2, 3, 4, 6, 10, 20, 50, 100, 1000, 1e4, 1e6].filter((value) => value <= last);

  const path = (standing, x, y, last) => {
    const jumps = Ranks.steps(standing.ratios).filter(([at]) => at <= last);
    let d = `M${x(1).toFixed(2)},${y(jumps[0][1]).toFixed(2)}`;
    for (const [at, share] of jumps) d += `H${x(at).toFixed(2)}V${y(share).toFixed(2)}`;
    return `${d}H${x(last).toFixed(2)}`;
  };

  const plot = () => {
    const width = Math.max(280, get("profile-plot").clientWidth || 720);
    const last = end();
    const x = (value) => pad.left + ((width - pad.left - pad.right) * Math.log(value)) / Math.log(last);
    const y = (share) => height - pad.bottom - (height - pad.top - pad.bottom) * share;
    const at = (event) => {
      const part =
        (event.clientX - get("profile-svg").getBoundingClientRect().left - pad.left) / (width - pad.left - pad.right);
      return Math.exp(Math.min(1, Math.max(0, part)) * Math.log(last));
    };
    const shown = view.board.standings.filter(({ line }) => !view.state.hidden.includes(line.id));
    tau = Math.min(tau, last);
    const marks = [];
    for (const value of ticks(last))
      if (!marks.length || x(value) - x(marks[marks.length - 1]) >= 30) marks.push(value);
    const svg = s(
      "svg",
      {
        id: "profile-svg",
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: "img",
        "aria-label": "Performance profile; its values stand in the legend and in the table below",
        onpointermove: (event) => move(at(event)),
        onpointerdown: (event) => move(at(event)),
      },
      [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => [
        s("line", { class: "grid", x1: pad.left, x2: width - pad.right, y1: y(share), y2: y(share) }),
        s("text", { x: pad.left - 8, y: y(share) + 4, "text-anchor": "end" }, number(share, 1)),
      ]),
      marks.map((value) => [
        s("line", { class: "tick", x1: x(value), x2: x(value), y1: y(0), y2: y(0) + 4 }),
        s("text", { x: x(value), y: y(0) + 18, "text-anchor": "middle" }, String(value)),
      ]),
      s(
        "text",
        { class: "axis", x: (width + pad.left - pad.right) / 2, y: height - 4, "text-anchor": "middle" },
        "τ: error over the best error (logarithmic)",
      ),
      s(
        "text",
        {
          class: "axis",
          x: 12,
          y: (height - pad.bottom + pad.top) / 2,
          "text-anchor": "middle",
          transform: `rotate(-90 12 ${(height - pad.bottom + pad.top) / 2})`,
        },
        "ρ: share of tasks",
      ),
      [...shown].reverse().map((standing) =>
        s("path", {
          class: `curve ${view.look(standing.line)}`,
          d: path(standing, x, y, last),
          "data-line": standing.line.id,
        }),
      ),
      s("line", { id: "profile-cursor", class: "cursor", y1: y(1), y2: y(0) }),
    );
    svg.scaleTau = { x, last };
    return svg;
  };

  const move = (value) => {
    const svg = get("profile-svg");
    if (!svg) return;
    tau = value;
    const { x, last } = svg.scaleTau;
    const cursor = get("profile-cursor");
    cursor.setAttribute("x1", x(tau));
    cursor.setAttribute("x2", x(tau));
    const slider = get("profile-tau");
    slider.value = String((1000 * Math.log(tau)) / Math.log(last));
    slider.setAttribute("aria-valuetext", `τ ${number(tau, 2)}`);
    get("profile-at").textContent = `ρ at τ = ${number(tau, 2)}`;
    for (const standing of view.board.standings) {
      const cell = document.querySelector(`#profile-legend [data-rho="${CSS.escape(standing.line.id)}"]`);
      if (cell) cell.textContent = number(Ranks.rho(standing.ratios, tau), 2);
    }
  };

  const stress = (id, on) => {
    get("profile-svg")?.classList.toggle("stressed", on);
    for (const curve of document.querySelectorAll("#profile-svg .curve"))
      curve.classList.toggle("stress", on && curve.dataset.line === id);
  };

  const legend = () => {
    const areas = view.data.ends.length - 1;
    const order = [...view.board.standings].sort((a, b) => b.areas[areas] - a.areas[areas]);
    const toggle = (id) => {
      const hidden = view.state.hidden.includes(id)
        ? view.state.hidden.filter((other) => other !== id)
        : [...view.state.hidden, id];
      view.set({ hidden: view.data.lines.map((line) => line.id).filter((other) => hidden.includes(other)) });
    };
    return [
      h(
        "div",
        { class: "reading" },
        h("label", { for: "profile-tau" }, h("b", { id: "profile-at" }, "")),
        h("input", {
          id: "profile-tau",
          type: "range",
          min: 0,
          max: 1000,
          step: 1,
          oninput: (event) => move(Math.exp((Number(event.target.value) / 1000) * Math.log(end()))),
        }),
      ),
      h(
        "ul",
        { class: "legend" },
        order.map(({ line }) =>
          h(
            "li",
            null,
            h(
              "button",
              {
                type: "button",
                "aria-pressed": String(!view.state.hidden.includes(line.id)),
                "data-key": `legend:${line.id}`,
                onclick: () => toggle(line.id),
                onpointerenter: () => stress(line.id, true),
                onpointerleave: () => stress(line.id, false),
                onfocus: () => stress(line.id, true),
                onblur: () => stress(line.id, false),
              },
              view.swatch(line),
              name(line.name),
              h("span", { class: "value", "data-rho": line.id }),
            ),
          ),
        ),
      ),
      h("p", { class: "muted" }, "A click on a name hides its curve; the numbers stay as they are."),
    ];
  };

  const values = () => {
    const at = ticks(end());
    return h(
      "table",
      null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col", class: "name" }, "ρ at τ ="),
          at.map((value) => h("th", { scope: "col" }, String(value))),
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
            at.map((value) => h("td", null, number(Ranks.rho(standing.ratios, value), 2))),
          ),
        ),
      ),
    );
  };

  const resize = () => {
    put(get("profile-plot"), plot());
    move(tau);
  };

  const draw = (now) => {
    view = now;
    const ends = [...new Set([2, 4, 10, ...view.data.ends])]
      .sort((a, b) => a - b)
      .map((value) => [String(value), String(value)]);
    const options = [...ends, ["all", "the worst"]];
    put(
      get("profile-tools"),
      select("τ up to", options, view.state.tau, (value) => view.set({ tau: value })),
    );
    put(get("profile-legend"), legend());
    put(get("profile-values"), values());
    resize();
  };

  return { draw, resize };
})();
