/* What is shown, as files. */
const Downloads = (() => {
  /* A field of CSV; what a spreadsheet would take for a formula is made text. */
  const field = (value) => {
    if (value === null || value === undefined || (typeof value === "number" && !Number.isFinite(value))) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const csvText = (view) => {
    const { board, data } = view;
    const header = [
      "method",
      "name",
      "ranked",
      "median_rank",
      "mean_rank",
      "improvement",
      ...data.ends.map((end) => `area_${end}`),
      "n_tasks",
      ...board.tasks.flatMap((task) => [`score_${task}`, `std_${task}`, `seeds_${task}`]),
    ];
    const scores = (line) =>
      board.tasks.flatMap((task) => {
        const cell = line.cells[task];
        return cell ? [cell.score ?? "failed", cell.std, cell.n] : [null, null, null];
      });
    const rows = board.standings
      .map((one) => [
        one.line.id,
        one.line.name,
        1,
        one.medianRank,
        one.meanRank,
        one.improvement,
        ...one.areas,
        one.nTasks,
        ...scores(one.line),
      ])
      .concat(
        board.unranked.map((line) => [
          line.id,
          line.name,
          0,
          null,
          null,
          null,
          ...data.ends.map(() => null),
          board.tasks.filter((task) => line.cells[task]).length,
          ...scores(line),
        ]),
      );
    return [header, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
  };

  const jsonText = (view) => {
    const { board, data } = view;
    const finite = (value) => (Number.isFinite(value) ? value : null);
    const cells = (line, standing) =>
      Object.fromEntries(
        board.tasks
          .filter((task) => line.cells[task])
          .map((task) => {
            const { sources, notes, ...cell } = line.cells[task];
            const rank = standing ? { rank: standing.ranks[board.tasks.indexOf(task)] } : {};
            return [
              task,
              {
                ...cell,
                ...rank,
                sources: sources.map((at) => data.texts[at]),
                notes: notes.map((at) => data.texts[at]),
              },
            ];
          }),
      );
    return `${JSON.stringify(
      {
        tasks: board.tasks,
        baseline: board.baseline,
        included: view.state.include,
        methods: board.standings.map((one) => ({
          method: one.line.id,
          name: one.line.name,
          published: one.line.paper,
          conditions: one.line.marks,
          median_rank: one.medianRank,
          mean_rank: one.meanRank,
          improvement: finite(one.improvement),
          areas: Object.fromEntries(data.ends.map((end, index) => [end, one.areas[index]])),
          n_tasks: one.nTasks,
          tasks: cells(one.line, one),
        })),
        not_ranked: board.unranked.map((line) => ({
          method: line.id,
          name: line.name,
          published: line.paper,
          conditions: line.marks,
          tasks: cells(line),
        })),
        statistics: view.whole ? data.statistics : null,
        generated: data.generated,
      },
      null,
      1,
    )}\n`;
  };

  const save = (text, type, file) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = Dom.h("a", { href: url, download: file });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const csv = (view) => save(csvText(view), "text/csv;charset=utf-8", "nas360-leaderboard.csv");
  const json = (view) => save(jsonText(view), "application/json", "nas360-leaderboard.json");

  return { csv, json, csvText, jsonText };
})();
