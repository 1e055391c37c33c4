"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const found = data.customers, texts = found.texts, types = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
  const columns = Object.fromEntries(Object.entries(found.columns).map(([name, packed]) =>
    [name, new types[packed.type](Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0)).buffer)]));
  const features = Object.fromEntries(found.features.map((feature) => [feature.name, feature]));
  const everybody = [...found.names.keys()], element = (id) => document.getElementById(id);
  const charts = [];

  // ------------------------------------------------------------------------------------------------ numbers and colours

  const formatter = (options) => { const format = new Intl.NumberFormat(found.locale, options); return (value) => format.format(value); };
  const number = formatter({ maximumSignificantDigits: 3 }), whole = formatter({ maximumFractionDigits: 0 });
  const percent = formatter({ style: "percent", maximumFractionDigits: 1 });
  const money = formatter({ style: "currency", currency: found.currency, maximumFractionDigits: 0 });
  const shortMoney = formatter({ style: "currency", currency: found.currency, notation: "compact", maximumFractionDigits: 1 });
  const plural = new Intl.PluralRules(found.locale);
  const measured = (value, unit) => {
    if (Number.isNaN(value)) return "–";
    if (unit === "share") return percent(value);
    if (unit === "money") return money(value);
    const said = Math.abs(value) >= 100 ? whole(value) : number(value);
    const forms = found.units[unit], form = plural.select(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
    return forms ? `${said} ${forms[form] || forms.other}` : said;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // Texts that begin with @ are colours of the page.
  const filled = (value) =>
    typeof value === "string" ? (value.startsWith("@") ? colour(value.slice(1)) : value)
      : Array.isArray(value) ? value.map(filled)
        : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, key === "said" || key === "formatter" ? each : filled(each)]))
          : value;

  const tag = (name, text, parent) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };
  const tip = (title, lines) => {
    const box = tag("div");
    box.className = "tip";
    tag("b", title, box);
    lines.forEach((line) => tag("div", line, box));
    return box;
  };

  // ---------------------------------------------------------------------------------------------------------- the charts

  const dressed = (option, width) => {
    const axis = (own, value) => own && {
      ...own,
      axisLabel: {
        color: colour("quiet"), fontSize: 12, lineHeight: 14, hideOverlap: true,
        ...(value ? { formatter: own.money ? shortMoney : number } : {}), ...filled(own.axisLabel || {}),
        ...((own.axisLabel || {}).width ? { width: Math.min(own.axisLabel.width, 0.34 * width) } : {}),
      },
      axisLine: { show: !value, lineStyle: { color: colour("line") } },
      splitLine: { show: value, lineStyle: { color: colour("line") } },
    };
    const value = (own) => own && (own.type === "value" || own.type === "log");
    return {
      animation: false,
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("ink") },
      ...filled({ ...option, xAxis: undefined, yAxis: undefined }),
      ...(option.xAxis ? { xAxis: axis(option.xAxis, value(option.xAxis)), yAxis: axis(option.yAxis, value(option.yAxis)) } : {}),
      ...(option.series[0].type === "sankey"
        ? { series: filled(option.series).map((each) => ({ ...each, label: { ...each.label, width: 0.42 * width, overflow: "truncate" } })) } : {}),
      grid: { containLabel: true, ...option.grid },
      legend: { show: false, textStyle: { color: colour("ink"), fontSize: 13 }, itemWidth: 18, itemHeight: 10, ...option.legend },
      tooltip: {
        confine: true, backgroundColor: colour("ground"), borderColor: colour("line"),
        textStyle: { color: colour("ink"), fontSize: 13 }, formatter: (point) => tip(point.data.said, []), ...option.tooltip,
      },
    };
  };
  const place = (box, option, drawn = () => {}) => {
    const width = () => box.clientWidth || 680;
    box.style.height = `${Math.min(Number(box.dataset.height), Math.max(320, 1.15 * width()), 900)}px`;
    const chart = echarts.init(box, null, { renderer: "canvas", devicePixelRatio: Math.max(2, window.devicePixelRatio) });
    const draw = () => { chart.setOption(dressed(option(), chart.getWidth()), { notMerge: true }); drawn(); };
    draw();
    charts.push({ chart, draw });
    return { chart, draw };
  };
  document.querySelectorAll("[data-chart]").forEach((box) => place(box, () => data.charts[box.dataset.chart]));

  // ------------------------------------------------------------------------------------------- the customers as dots

  let shownBy = "", chosen = null;

  // The groups that dots are coloured by: segments, or steps of a feature with about as many customers each.
  const groups = (feature) => {
    if (!feature) {
      return found.segments.map((segment, place) => ({
        label: segment.name, colour: segment.colour,
        rows: everybody.filter((row) => columns.segment[row] === place),
        symbol: ["circle", "rect", "diamond", "triangle"][Math.max(0, Math.floor(segment.id / 8)) % 4],
      })).reverse();
    }
    const values = columns[`feature:${feature}`], unit = features[feature].unit;
    const known = [...values].filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
    const limits = [...new Set([0.2, 0.4, 0.6, 0.8].map((part) => known[Math.floor(part * (known.length - 1))]))]
      .filter((limit) => limit < known[known.length - 1]);
    const fill = (text, lower, upper) => text.replace("{lower}", () => measured(lower, unit)).replace("{upper}", () => measured(upper, unit));
    return [...limits, Infinity].map((limit, step) => ({
      label: step === 0 ? fill(texts.up_to, 0, limit === Infinity ? known[known.length - 1] : limit)
        : limit === Infinity ? fill(texts.above, limits[step - 1]) : fill(texts.between, limits[step - 1], limit),
      colour: `@sequence-${limits.length ? Math.round((step * 4) / limits.length) : 2}`,
      rows: everybody.filter((row) => values[row] <= limit && (step === 0 || values[row] > limits[step - 1])),
      symbol: "circle",
    })).filter((group) => group.rows.length);
  };
  const facts = (row) => {
    const reasons = [0, 1, 2].map((place) => found.features[columns[`reason_${place}`][row]]).filter(Boolean);
    return [
      [texts.segment, found.segments[columns.segment[row]].name],
      [texts.confidence, percent(columns.confidence[row])],
      ...(shownBy ? [[features[shownBy].label, measured(columns[`feature:${shownBy}`][row], features[shownBy].unit)]] : []),
      ...reasons.filter((feature) => feature.name !== shownBy)
        .map((feature) => [feature.label, measured(columns[`feature:${feature.name}`][row], feature.unit)]),
    ];
  };
  // Many dots are drawn in one path per group, which takes a quarter of the time.
  const dots = (shown, at, size) => {
    const series = shown.map((group) => {
      const rows = group.rows.filter((row) => at(row));
      return {
        type: "scatter", name: group.label, large: everybody.length > 5000, largeThreshold: 100, progressive: 0, symbol: group.symbol, symbolSize: size,
        data: rows.map(at), itemStyle: { color: group.colour, opacity: 0.75 }, rows,
      };
    });
    if (chosen !== null && at(chosen)) {
      series.push({
        type: "scatter", name: "chosen", symbolSize: 22, data: [at(chosen)], rows: [chosen], z: 9,
        itemStyle: { color: "transparent", borderColor: "@ink", borderWidth: 3 },
      });
    }
    return series;
  };
  const rowsOf = (series) => series.map((each) => each.rows);
  const pointed = (rows) => ({
    trigger: "item",
    formatter: (point) => {
      const row = rows()[point.seriesIndex][point.dataIndex];
      return tip(found.names[row], facts(row).map(([name, value]) => `${name}: ${value}`));
    },
  });
  const legend = (list, shown) => {
    list.replaceChildren(...shown.filter((group) => group.rows.length).map((group) => {
      const item = tag("li");
      tag("i", "", item).style.background = filled(group.colour);
      item.append(`${group.label} (${whole(group.rows.length)})`);
      return item;
    }));
  };

  let mapRows = [], frequencyRows = [];
  const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const mapOption = () => {
    const box = element("customer-map"), [west, east] = extent(columns.x), [south, north] = extent(columns.y);
    const unit = 1.06 * Math.max((east - west) / box.clientWidth, (north - south) / box.clientHeight) || 1;
    const axis = (low, high, pixels) => ({
      type: "value", show: false, min: (low + high - unit * pixels) / 2, max: (low + high + unit * pixels) / 2,
    });
    const series = dots(groups(shownBy), (row) => [columns.x[row], columns.y[row]], Math.max(3.5, Math.min(9, 220 / Math.sqrt(everybody.length))));
    mapRows = rowsOf(series);
    return {
      xAxis: axis(west, east, box.clientWidth), yAxis: axis(south, north, box.clientHeight), series,
      grid: { left: 0, right: 0, top: 0, bottom: 0, containLabel: false },
      tooltip: pointed(() => mapRows),
      dataZoom: ["x", "y"].map((name) => ({
        type: "inside", [`${name}AxisIndex`]: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", minSpan: 2,
        ...(zoomed[name] || {}),
      })),
    };
  };
  const zoomed = {};
  const map = place(element("customer-map"), mapOption, () => legend(element("map-legend"), shownBy ? groups(shownBy) : groups("").reverse()));
  map.chart.on("datazoom", () => {
    map.chart.getOption().dataZoom.forEach((zoom, place) => { zoomed["xy"[place]] = { start: zoom.start, end: zoom.end }; });
  });
  const zoom = (factor) => map.chart.dispatchAction({
    type: "dataZoom",
    batch: ["x", "y"].map((name, place) => {
      const { start, end } = zoomed[name] || { start: 0, end: 100 }, half = factor ? Math.min(50, (factor * (end - start)) / 2) : 50;
      const middle = Math.min(100 - half, Math.max(half, (start + end) / 2));
      return { dataZoomIndex: place, start: middle - half, end: middle + half };
    }),
  });

  const rate = columns["feature:order_return_rate"], worth = found.money ? columns.returned_value : columns["feature:returned_line_count"];
  const frequency = place(element("frequency-chart"), () => {
    const series = dots(groups(""), (row) => (worth[row] > 0 && rate[row] > 0 ? [rate[row], worth[row]] : null), 5);
    frequencyRows = rowsOf(series);
    return {
      xAxis: { type: "value", min: 0, max: 1, name: texts.x, nameLocation: "middle", nameGap: 30, axisLabel: { formatter: percent } },
      yAxis: {
        type: "log", name: found.money ? texts.y : texts.y_without_money, nameLocation: "end", nameTextStyle: { align: "left" },
        axisLabel: { formatter: found.money ? shortMoney : whole },
      },
      grid: { left: 16, right: 24, top: 44, bottom: 36 },
      series, tooltip: pointed(() => frequencyRows),
    };
  }, () => legend(element("frequency-legend"), groups("").map((group, place) => ({ ...group, rows: frequencyRows[place] })).reverse()));

  // -------------------------------------------------------------------------------------------------- what people use

  found.features.forEach((feature) => { tag("option", feature.label, element("colour-by")).value = feature.name; });
  element("colour-by").addEventListener("change", (event) => { shownBy = event.target.value; map.draw(); if (chosen !== null) choose(chosen); });
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));

  const choose = (row) => {
    chosen = row;
    map.draw();
    frequency.draw();
    const box = element("customer");
    box.hidden = row === null;
    box.replaceChildren();
    if (row === null) return;
    [[element("search").placeholder, found.names[row]], ...facts(row)].forEach(([name, value]) => {
      const pair = tag("div", undefined, box);
      tag("dt", name, pair);
      tag("dd", value, pair);
    });
  };
  const search = () => {
    const asked = element("search").value.trim().toLowerCase(), list = element("results");
    const matches = asked ? everybody.filter((row) => found.names[row].toLowerCase().includes(asked)) : [];
    const form = plural.select(matches.length);
    element("found").textContent = !asked ? "" : matches.length ? (texts.found[form] || texts.found.other).replace("{count}", whole(matches.length)) : texts.none_found;
    list.replaceChildren(...(matches.length > 1 ? matches.slice(0, 8) : []).map((row) => {
      const item = tag("li");
      const button = tag("button", found.names[row], item);
      button.type = "button";
      button.addEventListener("click", () => choose(row));
      return item;
    }));
    choose(matches.length === 1 ? matches[0] : null);
  };
  element("search").addEventListener("input", search);
  const clicked = (rows) => (point) => { const row = (rows()[point.seriesIndex] || [])[point.dataIndex]; if (row !== undefined) choose(row); };
  map.chart.on("click", clicked(() => mapRows));
  frequency.chart.on("click", clicked(() => frequencyRows));
  document.querySelector(".controls").hidden = false;

  // ----------------------------------------------------------------------------------------- width, ground and paper

  const redraw = () => charts.forEach(({ draw }) => draw());
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => charts.forEach(({ chart, draw }) => { chart.resize(); draw(); }), 120); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const onPaper = (paper) => charts.forEach(({ chart, draw }) => { chart.resize(paper ? { width: 690 } : { width: "auto" }); draw(); });
  matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));
})();
