/* Ranks, improvement, profiles and the order of a board: the browser's twin of nas360's ranks.py, profiles.py and
   board.py. A test holds the two equal. An error is a number, Infinity for a failed run, NaN where there is none. */
const Ranks = (() => {
  const median = (values) => {
    if (!values.length) return NaN;
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    if (sorted.length % 2) return sorted[half];
    return sorted[half - 1] === sorted[half] ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN);
  const present = (values) => values.filter((value) => !Number.isNaN(value));

  /* Ranks of one task's errors; equal errors share the average of their places. */
  const taskRanks = (errors) =>
    errors.map((error) => {
      if (Number.isNaN(error)) return NaN;
      let below = 0;
      let equal = 0;
      for (const other of errors) {
        if (other < error) below += 1;
        else if (other === error) equal += 1;
      }
      return below + (equal + 1) / 2;
    });

  /* (base − e) / base of one task; what is no ordinary number follows relative_improvement in ranks.py. */
  const gain = (error, base) => {
    if (Number.isNaN(error) || Number.isNaN(base)) return NaN;
    if (error === base) return 0;
    return base === Infinity ? 1 : (base - error) / base;
  };

  /* Error over the best error of the same task: missing and failed are ∞, 0/0 is 1, x/0 is ∞. */
  const ratios = (errors) => {
    const filled = errors.map((error) => (Number.isNaN(error) ? Infinity : error));
    const best = Math.min(Infinity, ...filled);
    return filled.map((error) => {
      if (error === Infinity) return Infinity;
      if (error === best) return 1;
      return error / best; // x / 0 is ∞
    });
  };

  /* Jumps of a profile as [τ, ρ], from τ = 1 on. */
  const steps = (values) => {
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    const jumps = sorted.length && sorted[0] === 1 ? [] : [[1, 0]];
    sorted.forEach((ratio, index) => {
      if (sorted[index + 1] !== ratio) jumps.push([ratio, (index + 1) / values.length]);
    });
    return jumps;
  };
  const rho = (values, tau) => values.filter((ratio) => ratio <= tau).length / Math.max(1, values.length);
  const area = (values, end) => mean(values.map((ratio) => Math.max(0, (end - ratio) / (end - 1)))) || 0;

  /* Shares of the tasks of both that a wins, a tie counting half; null without a task in common. */
  const winRate = (a, b) => {
    const points = present(
      a.map((error, task) => {
        const other = b[task];
        if (Number.isNaN(error) || Number.isNaN(other)) return NaN;
        return error === other ? 0.5 : Number(error < other);
      }),
    );
    return points.length ? mean(points) : null;
  };

  /* As Python orders text: by code points, not by UTF-16 units. */
  const compareText = (a, b) => {
    const [left, right] = [[...a], [...b]];
    for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
      const difference = left[index].codePointAt(0) - right[index].codePointAt(0);
      if (difference) return difference;
    }
    return left.length - right.length;
  };

  const errorOf = (cell) => {
    if (cell === undefined) return NaN;
    return cell.error === null ? Infinity : cell.error;
  };

  /* The board of some lines on some tasks.
     lines: [{id, marks, cells: {task: {error}}}], tasks: ids, baseline: id or null, include: marks that are let in. */
  const rank = (lines, tasks, baseline, include, ends) => {
    const there = lines.filter((line) => tasks.some((task) => line.cells[task]));
    const ranked = there.filter((line) => line.marks.every((mark) => include.includes(mark)));
    const errors = ranked.map((line) => tasks.map((task) => errorOf(line.cells[task])));
    const columns = tasks.map((_, task) => errors.map((row) => row[task]));
    const rankColumns = columns.map(taskRanks);
    const ratioColumns = columns.map(ratios);
    const base = ranked.findIndex((line) => line.id === baseline);
    const standings = ranked.map((line, index) => {
      const ranks = rankColumns.map((column) => column[index]);
      const own = ratioColumns.map((column) => column[index]);
      const gains = base < 0 ? [] : present(errors[index].map((error, task) => gain(error, errors[base][task])));
      return {
        line,
        errors: errors[index],
        ranks,
        ratios: own,
        medianRank: median(present(ranks)),
        meanRank: mean(present(ranks)),
        improvement: gains.length ? median(gains) : null,
        areas: ends.map((end) => area(own, end)),
        nTasks: present(ranks).length,
      };
    });
    standings.sort(
      (a, b) => a.medianRank - b.medianRank || a.meanRank - b.meanRank || compareText(a.line.id, b.line.id),
    );
    return {
      tasks,
      standings,
      unranked: there.filter((line) => !ranked.includes(line)),
      baseline: base < 0 ? null : baseline,
    };
  };

  return { rank, steps, rho, area, ratios, taskRanks, winRate, median, mean, compareText, errorOf };
})();
