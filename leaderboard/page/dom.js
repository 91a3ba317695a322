/* Elements and numbers. Text only ever enters the page as text nodes, so that nothing foreign becomes markup. */
const Dom = (() => {
  const fill = (node, props, children) => {
    for (const [name, value] of Object.entries(props ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) node.append(child);
    }
    return node;
  };
  const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
  const s = (tag, props, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
  const get = (id) => document.getElementById(id);
  const put = (node, ...children) => node.replaceChildren(...children.flat(Infinity).filter((child) => child));

  const number = (value, digits) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    return value
      .toFixed(digits)
      .replace(/^-(?=[0.]*$)/, "")
      .replace("-", "−");
  };
  /* A rank: halves with one digit, the rest with two. */
  const rank = (value) => number(value, Number.isInteger(10 * value) ? 1 : 2);
  const percent = (value) => {
    const text = value === null ? "–" : number(100 * value, 1);
    return text === "–" || text.endsWith("∞") ? text : `${text} %`;
  };
  const spread = (cell, task) => {
    if (cell.std === null) return "";
    const text = cell.std.toFixed(task.decimals);
    return `±${Number(text) || !cell.std ? text : cell.std.toPrecision(1)}`;
  };
  const score = (cell, task) => (cell.score === null ? "failed" : number(cell.score, task.decimals));
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  /* Names may be of any script and direction: each is isolated. */
  const name = (text) => h("bdi", null, text);

  /* A table head whose sortable cells are buttons. columns: [{id, head, title?, sort?, kind?}] */
  const head = (columns, sort, onSort) =>
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        columns.map((column) => {
          const active = sort && sort.by === column.id;
          const state = active ? (sort.down ? "descending" : "ascending") : null;
          const inner = column.sort
            ? h(
                "button",
                { type: "button", title: column.title, onclick: () => onSort(column.id), "data-sort": column.id },
                column.head,
                h("span", { class: "arrow", "aria-hidden": "true" }, active ? (sort.down ? "▾" : "▴") : ""),
              )
            : h("span", { title: column.title }, column.head);
          return h("th", { scope: "col", class: column.kind, "aria-sort": state }, inner);
        }),
      ),
    );

  /* The head and body of a table that does not sort. heads: [[text, class?]] */
  const plain = (heads, rows) => [
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        heads.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)),
      ),
    ),
    h("tbody", null, rows),
  ];
  const rowHead = (...content) => h("th", { scope: "row", class: "name" }, content);
  /* What may be wider than the screen, and is scrolled by keyboard too. */
  const region = (label, ...content) =>
    h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, content);

  const select = (label, options, value, onChange) =>
    h(
      "label",
      { class: "select" },
      h("span", null, label),
      h(
        "select",
        { onchange: (event) => onChange(event.target.value) },
        options.map(([id, text]) => h("option", { value: id, selected: id === value }, text)),
      ),
    );

  /* Radio buttons drawn as one segmented control. */
  const choice = (label, group, options, value, onChange) =>
    h(
      "fieldset",
      { class: "segments" },
      h("legend", null, label),
      options.map(([id, text]) =>
        h(
          "label",
          null,
          h("input", { type: "radio", name: group, value: id, checked: id === value, onchange: () => onChange(id) }),
          h("span", null, text),
        ),
      ),
    );

  /* Replaces children but keeps the keyboard's place, by the value or data-sort of the focused control. */
  const keepFocus = (draw) => {
    const before = document.activeElement;
    const mark =
      before &&
      ["data-key", "data-sort", "value"].map((key) => [key, before.getAttribute?.(key)]).find(([, value]) => value);
    const place = before?.closest?.("[id]")?.id;
    draw();
    if (!before || before.isConnected || !place) return;
    const scope = get(place);
    const again = mark
      ? [...scope.querySelectorAll(`[${mark[0]}]`)].find((node) => node.getAttribute(mark[0]) === mark[1])
      : scope.querySelector(before.tagName);
    again?.focus({ preventScroll: true });
  };

  return {
    h,
    s,
    get,
    put,
    number,
    rank,
    percent,
    spread,
    score,
    plural,
    name,
    head,
    plain,
    rowHead,
    region,
    select,
    choice,
    keepFocus,
  };
})();
