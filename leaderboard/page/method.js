/* One method: what it is and where each of its numbers comes from, in a dialog. */
const Method = (() => {
  const { h, get, put, rank, spread, score, name, plain, rowHead, region } = Dom;

  const link = (url) =>
    /^https?:\/\//.test(url) ? h("a", { href: url, rel: "noopener noreferrer nofollow" }, name(url)) : name(url);

  const open = (view, line) => {
    const facts = [
      ["Id", h("code", null, name(line.id))],
      ["Version", name(line.method.version)],
      ["Search space", name(line.method.space)],
      ["Search", line.method.algorithm && name(line.method.algorithm)],
      ["Tuning", line.method.hpo && name(line.method.hpo)],
      ["Numbers", line.paper ? "published" : "own runs"],
      ["Conditions", line.marks.join(", ")],
      [
        "Other data",
        [line.method.pretrained && "pretrained", line.method.external && "external data"].filter(Boolean).join(", "),
      ],
      ["Reference", line.method.reference && link(line.method.reference)],
      ["Code", line.method.code && link(line.method.code)],
      ["Command", line.method.command && h("code", null, name(line.method.command))],
    ].filter(([, value]) => value);
    const standing = view.board.standings.find((one) => one.line.id === line.id);
    const tasks = view.data.tasks.filter((task) => line.cells[task.id]);
    put(
      get("method"),
      h(
        "div",
        { class: "title" },
        h("h2", { id: "method-title" }, view.swatch(line), name(line.name)),
        h("form", { method: "dialog" }, h("button", { class: "quiet" }, "Close")),
      ),
      h(
        "dl",
        null,
        facts.map(([term, value]) => [h("dt", null, term), h("dd", null, value)]),
      ),
      region(
        "Scores",
        h(
          "table",
          null,
          plain(
            [["Task", "name"], ["Score"], ["Rank"], ["Seeds", "text"], ["Source and notes", "text wide"]],
            tasks.map((task) => {
              const cell = line.cells[task.id];
              const at = view.board.tasks.indexOf(task.id);
              return h(
                "tr",
                null,
                rowHead(task.name),
                h("td", null, score(cell, task), " ", h("small", null, spread(cell, task))),
                h("td", null, standing && at >= 0 ? rank(standing.ranks[at]) : "–"),
                h("td", { class: "text seeds" }, Tasks.seeds(cell, task)),
                h("td", { class: "text wide" }, Tasks.origin(view, cell)),
              );
            }),
          ),
        ),
      ),
    );
    get("method").showModal();
  };

  return { open };
})();
