// The page's curves and switches. Texts of runs reach the page through textContent only.
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = selector => document.querySelector(selector);
  const make = (tag, className, text) => Object.assign(document.createElement(tag), { className: className ?? "", textContent: text ?? "" });

  // ---- theme ----
  const themeButton = $("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const showTheme = () => { themeButton.textContent = isDark() ? "Light" : "Dark"; themeButton.setAttribute("aria-label", `Change to ${isDark() ? "light" : "dark"} colours`); };
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
    redraw();
  });
  system.addEventListener("change", () => { showTheme(); redraw(); });
  showTheme();

  // ---- copy buttons ----
  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const pre = button.previousElementSibling;
      let done = true;
      try {
        await navigator.clipboard.writeText(pre.textContent);
      } catch {
        // Without leave for the clipboard: select the text and try the old way.
        getSelection().selectAllChildren(pre);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  // ---- curves ----
  const data = JSON.parse($("#data").textContent);
  const holder = $("#charts");
  const charts = [];
  const shown = data.runs.map(() => true);
  // All charts share their steps, so that a step is at the same place in each.
  const ends = data.runs.flatMap(run => Object.values(run.curves).flatMap(([steps]) => [steps[0], steps.at(-1)]));
  const allSteps = [Math.min(0, ...ends), Math.max(1, ...ends)];
  // Room at the right for the scores of baselines; the same in all charts, for the same reason.
  const margin = data.charts.some(spec => spec.baselines.length > 0) ? 60 : 22;
  let log = false, weight = 0.6, zoom = null, hovered = null;
  if (holder && typeof uPlot === "function") start();
  function redraw() { for (const chart of charts) chart.plot?.redraw(false); }

  function start() {
    for (const spec of data.charts) {
      const figure = make("figure", "chart");
      const caption = make("figcaption", "", spec.title);
      if (spec.unit) caption.append(" ", make("small", "", spec.unit));
      const area = make("div", "plot");
      const gridline = make("span", "gridline hidden");
      const readout = make("div", "readout");
      readout.hidden = true;
      figure.tabIndex = 0;
      const baselineKey = make("ul", "baseline-key");
      baselineKey.hidden = true;
      figure.append(caption, area, baselineKey, gridline, readout);
      holder.append(figure);
      const chart = { spec, figure, area, baselineKey, gridline, readout, plot: null, runs: data.runs.map((run, index) => ({ ...run, index, curve: run.curves[spec.key] })).filter(run => run.curve) };
      describe(chart);
      charts.push(chart);
      build(chart);
      listen(chart);
    }
    new ResizeObserver(() => { for (const chart of charts) if (chart.area.clientWidth > 0) chart.plot.setSize({ width: chart.area.clientWidth, height: chart.area.clientHeight }); }).observe(holder);
    for (const hidden of document.querySelectorAll("#curves > [hidden]")) hidden.hidden = false;

    const show = wanted => {
      for (const run of shown.keys()) shown[run] = wanted(run);
      for (const key of document.querySelectorAll(".key")) key.setAttribute("aria-pressed", shown[Number(key.dataset.run)]);
      for (const chart of charts) chart.plot.batch(() => { for (const [i, line] of chart.lines.entries()) chart.plot.setSeries(i + 1, { show: shown[line.run] }); });
    };
    const press = (group, pressed) => { for (const button of document.querySelectorAll(group)) button.setAttribute("aria-pressed", button === pressed); };
    for (const key of document.querySelectorAll(".key")) {
      key.addEventListener("click", () => {
        press("[data-task]", null);
        show(run => shown[run] !== (run === Number(key.dataset.run)));
      });
    }
    for (const button of document.querySelectorAll("[data-task]")) {
      button.addEventListener("click", () => {
        press("[data-task]", button);
        show(run => button.dataset.task === "" || data.runs[run].task === button.dataset.task);
      });
    }
    for (const button of document.querySelectorAll("[data-scale]")) {
      button.addEventListener("click", () => {
        log = button.dataset.scale === "log";
        press("[data-scale]", button);
        for (const chart of charts) if (isLog(chart) === log) build(chart);
      });
    }
    const slider = $("#smoothing");
    slider.addEventListener("input", () => {
      weight = Number(slider.value);
      $(".slider output").textContent = weight.toFixed(2);
      for (const chart of charts) if (chart.spec.smooth) build(chart);
    });
    $("#zoom-out").addEventListener("click", () => zoomTo(null));
  }

  function isLog(chart) { return log && !chart.spec.percent; }

  // An exponential moving average, weighted so that it does not lean towards zero at its start.
  function smoothed(values) {
    let sum = 0, scale = 0;
    return values.map(value => {
      if (value === null) return null;
      sum = weight * sum + (1 - weight) * value;
      scale = weight * scale + (1 - weight);
      return sum / scale;
    });
  }

  function build(chart) {
    const { spec } = chart;
    const positive = values => isLog(chart) ? values.map(value => value > 0 ? value : null) : values;
    const smooth = spec.smooth && weight > 0;
    chart.lines = [];
    const tables = [];
    for (const run of chart.runs) {
      const [steps, values] = run.curve;
      run.drawn = smooth ? smoothed(values) : values;
      tables.push(smooth ? [steps, positive(values), positive(run.drawn)] : [steps, positive(values)]);
      if (smooth) chart.lines.push({ run: run.index, faint: true });
      chart.lines.push({ run: run.index, faint: false });
    }
    chart.plot?.destroy();
    const swatch = index => document.querySelector(`.key[data-run="${index}"] .swatch`);
    const colour = (element, property) => getComputedStyle(element)[property];
    const font = `12px ${colour(chart.figure, "fontFamily")}`;
    const axis = {
      stroke: () => colour(chart.figure, "color"), font,
      grid: { stroke: () => colour(chart.gridline, "color"), width: 1 },
      ticks: { show: false },
    };
    const options = {
      width: chart.area.clientWidth, height: chart.area.clientHeight,
      padding: [8, margin, 0, 0],
      legend: { show: false },
      cursor: {
        hover: { prox: 40 },
        sync: { key: "steps", setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        points: { size: 10, width: 2, fill: (plot, i) => colour(swatch(chart.lines[i - 1].run), "stroke"), stroke: () => colour(chart.figure, "backgroundColor") },
        y: false,
      },
      select: { show: true },
      scales: {
        x: { time: false, range: () => zoom ?? allSteps },
        y: { distr: isLog(chart) ? 3 : 1, range: (plot, low, high) => range(chart, low, high) },
      },
      axes: [
        { ...axis, size: 30, gap: 6, space: 64, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7], values: (plot, splits) => splits.map(step => step >= 1e4 && step % 100 === 0 ? `${step / 1000}k` : step.toLocaleString("en")) },
        {
          ...axis, size: 54, gap: 6, space: 34,
          ...(isLog(chart) ? { splits: (plot, i, low, high) => decades(low, high), filter: (plot, splits) => splits } : {}),
          values: (plot, splits) => splits.map(value => spec.percent ? `${+(100 * value).toFixed(2)} %` : short(value)),
        },
      ],
      series: [{}, ...chart.lines.map(line => ({
        show: shown[line.run],
        stroke: () => colour(swatch(line.run), "stroke"),
        alpha: line.faint ? 0.28 : 1,
        width: line.faint ? 1 : 2,
        dash: line.faint ? undefined : dash(data.runs[line.run].look),
        points: line.faint ? { show: false } : { size: 6, fill: () => colour(chart.figure, "backgroundColor") },
        spanGaps: false,
      }))],
      hooks: {
        // Before the curves, so that these lie on top.
        drawAxes: [plot => drawBaselines(chart, plot)],
        setCursor: [plot => showReadout(chart, plot)],
        setSelect: [plot => {
          if (plot.select.width < 8) return;
          zoomTo([plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")]);
        }],
      },
    };
    chart.plot = new uPlot(options, tables.length > 1 ? uPlot.join(tables) : tables[0], chart.area);
    chart.plot.over.addEventListener("dblclick", () => zoomTo(null));
    chart.plot.over.addEventListener("pointermove", event => {
      // A finger reads values; uPlot itself listens to mice.
      if (event.pointerType === "mouse") return;
      const box = chart.plot.over.getBoundingClientRect();
      hovered = chart;
      chart.plot.setCursor({ left: event.clientX - box.left, top: event.clientY - box.top });
    });
    chart.plot.over.addEventListener("mouseenter", () => { hovered = chart; });
    chart.plot.over.addEventListener("mouseleave", () => leave(chart));
  }

  function zoomTo(range) {
    zoom = range;
    $("#zoom-out").hidden = range === null;
    for (const chart of charts) {
      chart.plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      chart.plot.setData(chart.plot.data);
    }
  }

  function range(chart, low, high) {
    if (low === null || low === undefined || high === null) return isLog(chart) ? [0.1, 1] : [0, 1];
    if (isLog(chart)) {
      const pad = Math.max(1.08, (high / low) ** 0.05);
      return [low / pad, high * pad];
    }
    if (chart.spec.percent) {
      for (const baseline of baselinesOf(chart)) [low, high] = [Math.min(low, baseline.score), Math.max(high, baseline.score)];
      // A share that hardly moves should look like it.
      if (high - low < 0.1) [low, high] = [(low + high) / 2 - 0.05, (low + high) / 2 + 0.05];
      const pad = 0.06 * (high - low);
      return [Math.max(low - pad, -0.01), Math.min(high + pad, 1.01)];
    }
    // What differs by rounding alone is one value.
    const size = Math.max(Math.abs(low), Math.abs(high));
    const pad = high - low > 1e-9 * size ? 0.05 * (high - low) : size * 0.1 || 1;
    return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  }

  // Baselines of the tasks in sight, the highest first.
  function baselinesOf(chart) {
    return chart.spec.baselines.filter(baseline => chart.runs.some(run => shown[run.index] && run.task === baseline.task)).sort((a, b) => b.score - a.score);
  }

  // Ticks of a logarithmic axis: powers of ten, and 2 and 5 between them where the range is small.
  function decades(low, high) {
    const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const stride = Math.max(1, Math.ceil((to - from) / 6));
    const factors = Math.log10(high / low) < 1 ? [1, 1.5, 2, 3, 4, 5, 7] : Math.log10(high / low) < 2.2 ? [1, 2, 5] : [1];
    const ticks = [];
    for (let power = from; power <= to; power += stride) for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
    return ticks;
  }

  function dash(look) {
    return look.endsWith("d1") ? [9, 6] : look.endsWith("d2") ? [2, 5] : undefined;
  }

  // Lines in the plot, each with its score beside its right end; the rules' names, too long for that, are listed under the plot.
  function drawBaselines(chart, plot) {
    const { ctx, bbox } = plot, ratio = devicePixelRatio, right = bbox.left + bbox.width, gap = 14;
    const baselines = baselinesOf(chart);
    const lines = baselines.map(baseline => plot.valToPos(baseline.score, "y"));
    // Downwards no score touches the one above it, then upwards none leaves the plot. Too many for its height are in the list only.
    const places = [...lines], fit = baselines.length * gap <= plot.over.clientHeight;
    for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i], places[i - 1] + gap);
    for (let i = places.length - 1, low = plot.over.clientHeight; i >= 0; i--, low -= gap) places[i] = Math.min(places[i], low);
    ctx.save();
    ctx.strokeStyle = getComputedStyle(chart.figure).color;
    for (const [i, line] of lines.entries()) {
      const y = Math.round(line * ratio + bbox.top);
      ctx.lineWidth = 1.2 * ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(right, y);
      ctx.stroke();
      if (!fit) continue;
      ctx.lineWidth = ratio;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(right, y);
      ctx.lineTo(right + 7 * ratio, places[i] * ratio + bbox.top);
      ctx.stroke();
    }
    ctx.restore();

    for (const mark of plot.over.querySelectorAll(".baseline-mark")) mark.remove();
    for (const [i, baseline] of fit ? baselines.entries() : []) {
      const mark = make("span", "baseline-mark", percent(baseline.score));
      mark.style.top = `${places[i]}px`;
      plot.over.append(mark);
    }
    chart.baselineKey.hidden = baselines.length === 0;
    chart.baselineKey.replaceChildren(...baselines.map(baseline => {
      const row = make("li", "", `${baseline.name} `);
      row.append(make("b", "", percent(baseline.score)));
      return row;
    }));
  }

  // ---- reading values ----
  function nearest(steps, step) {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle; else high = middle;
    }
    return Math.abs(steps[low] - step) <= Math.abs(steps[high] - step) ? low : high;
  }

  function rowsAt(chart, step) {
    const rows = chart.runs.filter(run => shown[run.index]).map(run => {
      const at = nearest(run.curve[0], step);
      return { run, step: run.curve[0][at], value: run.drawn[at], raw: run.curve[1][at] };
    });
    // A run that ended long before says nothing about this step.
    const closest = Math.min(...rows.map(row => Math.abs(row.step - step)));
    return rows.filter(row => Math.abs(row.step - step) <= Math.max(closest * 2, 0.02 * (chart.plot.scales.x.max - chart.plot.scales.x.min)));
  }

  function showReadout(chart, plot) {
    const { readout } = chart, { left } = plot.cursor;
    if (hovered !== chart || left === undefined || left < 0) { readout.hidden = true; return; }
    const rows = rowsAt(chart, plot.posToVal(left, "x"));
    if (rows.length === 0) { readout.hidden = true; return; }
    const steps = new Set(rows.map(row => row.step));
    const label = value => value === null || value === undefined ? "not finite" : chart.spec.percent ? percent(value) : exact(value);
    readout.replaceChildren(make("p", "", steps.size === 1 ? `Step ${rows[0].step.toLocaleString("en")}` : `Around step ${Math.round(plot.posToVal(left, "x")).toLocaleString("en")}`));
    for (const row of rows.slice(0, 12)) {
      const line = make("div");
      line.append(document.querySelector(`.key[data-run="${row.run.index}"] .swatch`).cloneNode(true), make("span", "", chart.runs.length > 1 ? row.run.label : chart.spec.title), make("b", "", label(row.value)));
      if (row.raw !== row.value && row.raw !== null) line.lastChild.append(" ", make("small", "", `(${label(row.raw)})`));
      readout.append(line);
    }
    if (rows.length > 12) readout.append(make("p", "", `and ${rows.length - 12} more`));
    readout.hidden = false;
    const over = plot.over.getBoundingClientRect(), box = chart.figure.getBoundingClientRect();
    const x = over.left - box.left + left, width = readout.offsetWidth;
    const place = x + 14 + width < box.width ? x + 14 : Math.max(4, x - 14 - width);
    readout.style.transform = `translate(${Math.round(place)}px, ${Math.round(over.top - box.top + 6)}px)`;
  }

  function leave(chart) {
    if (hovered === chart) hovered = null;
    chart.readout.hidden = true;
  }

  function listen(chart) {
    chart.figure.addEventListener("keydown", event => {
      const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") zoomTo(null);
      if (!direction) return;
      event.preventDefault();
      hovered = chart;
      const steps = chart.plot.data[0], at = chart.plot.cursor.left >= 0 && chart.plot.cursor.idx !== null ? chart.plot.cursor.idx + direction : direction > 0 ? 0 : steps.length - 1;
      const step = steps[Math.max(0, Math.min(steps.length - 1, at))];
      chart.plot.setCursor({ left: chart.plot.valToPos(step, "x"), top: 10 });
      $("#spoken").textContent = [...chart.readout.children].map(child => child.textContent.trim()).join(", ");
    });
    chart.figure.addEventListener("blur", () => leave(chart));
  }

  function describe(chart) {
    const ends = chart.runs.map(run => {
      const values = run.curve[1].filter(value => value !== null);
      const label = value => chart.spec.percent ? percent(value) : exact(value);
      return values.length ? `${run.label}: from ${label(values[0])} to ${label(values.at(-1))}` : `${run.label}: no values`;
    });
    chart.figure.setAttribute("aria-label", `${chart.spec.title} over steps. ${ends.slice(0, 8).join("; ")}`);
  }

  function percent(value) { return `${(100 * value).toFixed(2)} %`; }
  function exact(value) { return value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(2) : value.toPrecision(4); }
  function short(value) { return value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(0) : String(+value.toPrecision(3)); }
})();
