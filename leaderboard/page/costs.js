/* Points and fronts of error against cost: the twin of pareto.py. */
const Costs = (() => {
  /* standings of one board → Map of line id → {cost, error, nTasks}; lines without a known cost have none. */
  const points = (standings, tasks, measure) => {
    const found = new Map();
    for (const standing of standings) {
      const known = tasks
        .map((task, index) => [
          standing.line.cells[task]?.[measure] ?? NaN,
          standing.ratios[index],
          standing.errors[index],
        ])
        .filter(([cost, , error]) => !Number.isNaN(cost) && !Number.isNaN(error));
      if (!known.length) continue;
      found.set(standing.line.id, {
        cost: Ranks.mean(known.map(([cost]) => cost)),
        error: Ranks.mean(known.map(([, ratio]) => ratio)),
        nTasks: known.length,
      });
    }
    return found;
  };

  /* Ids of the points that no other is at least equal to in both and better in one, by cost.
     Only points over all tasks compare. */
  const front = (found, nTasks) => {
    const full = [...found]
      .filter(([, point]) => point.nTasks === nTasks && Number.isFinite(point.error))
      .sort(([, a], [, b]) => a.cost - b.cost || a.error - b.error);
    const kept = [];
    for (const [id, point] of full) {
      const best = kept.length ? found.get(kept[kept.length - 1]) : null;
      if (!best || point.error < best.error || (point.error === best.error && point.cost === best.cost)) kept.push(id);
    }
    return kept;
  };

  return { points, front };
})();
