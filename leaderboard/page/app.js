/* Puts the parts together: state → board → sections. */
const App = (() => {
  const { get } = Dom;
  const data = JSON.parse(get("data").textContent);
  const order = new Map(data.lines.map((line, index) => [line.id, index]));
  const colours = 8;
  const sections = [Controls, Table, Profile, Tasks, Cost, Certainty, Provenance];
  const same = (a, b) => a.length === b.length && a.every((value) => b.includes(value));

  const compute = (state) =>
    Ranks.rank(
      data.lines.filter((line) => state.methods.includes(line.id)),
      state.tasks,
      state.baseline,
      state.include,
      data.ends,
    );

  const view = {
    data,
    state: State.read(data, location.hash),
    board: null,
    whole: true,
    /* A line keeps its colour and dashes whatever is filtered. */
    look: (line) => `c${order.get(line.id) % colours} d${Math.floor(order.get(line.id) / colours) % 4}`,
    swatch: (line) =>
      Dom.s(
        "svg",
        { class: "swatch", viewBox: "0 0 18 8", width: 18, height: 8, "aria-hidden": "true" },
        Dom.s("line", { class: `curve ${view.look(line)}`, x1: 1, x2: 17, y1: 4, y2: 4 }),
      ),
    set: (change) => {
      Object.assign(view.state, change);
      save();
      draw();
    },
    reset: () => view.set(State.initial(data)),
  };

  const save = () => {
    const hash = State.write(data, view.state);
    history.replaceState(null, "", hash || `${location.pathname}${location.search}`);
  };

  const part = (standing) =>
    standing.nTasks < view.board.tasks.length ? ` over the ${standing.nTasks} that it ran` : "";

  const draw = () => {
    const usual = State.initial(data);
    view.board = compute(view.state);
    view.whole = ["tasks", "methods", "include"].every((key) => same(view.state[key], usual[key]));
    Dom.keepFocus(() => {
      for (const section of sections) section.draw(view);
    });
    const best = view.board.standings[0];
    const text =
      `${Dom.plural(view.board.standings.length, "method")} ranked ` +
      `over ${Dom.plural(view.board.tasks.length, "task")}.` +
      (best ? ` First by median rank: ${best.line.name}, ${Dom.rank(best.medianRank)}${part(best)}.` : "");
    if (get("status").textContent !== text) get("status").textContent = text;
  };

  const start = () => {
    for (const node of document.querySelectorAll(".js")) node.hidden = false;
    Theme.start();
    draw();
    addEventListener("hashchange", () => {
      // a link within the page is no state; it is taken out of the address again, so that the address can be shared
      if (location.hash.includes("=") || location.hash === "") {
        view.state = State.read(data, location.hash);
        draw();
      } else save();
    });
    let pending = 0;
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return; // a phone's bars come and go while it scrolls
      width = innerWidth;
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(() => {
        Profile.resize();
        Cost.resize();
      });
    });
    addEventListener("beforeprint", () => {
      for (const node of document.querySelectorAll("main details")) node.open ||= node.id === "provenance-details";
    });
  };

  start();
  return { view, compute };
})();
