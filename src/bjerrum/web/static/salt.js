"use strict";
// The page of one salt: figures, filters, table.
(() => {
  const bar = document.getElementById("filters");
  if (!bar) return;
  const salt = bar.dataset.salt;
  const status = document.getElementById("status");
  const figures = document.getElementById("figures");
  const choose = Object.fromEntries(["quantity", "model", "temperature"].map((id) => [id, document.getElementById(id)]));
  const PAGE = 50;
  const RANKS = Object.keys(NAMES);
  let data = null;
  let rows = [];
  let start = 0;

  const group = (lines, key) => Map.groupBy ? Map.groupBy(lines, key) : lines.reduce((map, line) => {
    map.set(key(line), [...(map.get(key(line)) || []), line]);
    return map;
  }, new Map());

  function label(line, lines) {
    const methods = new Set(lines.map((other) => other.method)).size > 1;
    const models = new Set(lines.map((other) => other.model)).size > 1;
    const temperatures = new Set(lines.map((other) => other.temperature_K)).size > 1;
    const short = line.method.split(" on ")[0].split(";")[0];
    return [models || !methods ? line.model || "no model" : "", methods ? short : "", temperatures ? `${line.temperature_K} K` : ""]
      .filter(Boolean).join(", ");
  }

  function valuePanels(series) {
    const rank = (line) => (RANKS.includes(line.quantity) ? RANKS.indexOf(line.quantity) : RANKS.length);
    const sorted = [...series].sort((a, b) => rank(a) - rank(b));
    for (const [key, lines] of group(sorted, (line) => `${line.quantity}|${line.subject}`)) {
      const [quantity, subject] = key.split("|");
      const temperatures = new Set(lines.map((line) => line.temperature_K));
      const beside = data.measured.filter(
        (line) => line.quantity === quantity && line.subject === subject && temperatures.has(line.temperature_K));
      const title = `${subject ? `${pairOf(subject)} ` : ""}${nameOf(quantity)}`;
      const unit = unitOf(lines[0].unit);
      const n = lines.reduce((sum, line) => sum + line.value.length, 0);
      panel(figures, title, `${title} of ${salt} against molality: ${n} computed values in ${lines.length} lines${beside.length ? ", measured ones beside them" : ""}`, citations(beside), () => ({
        traces: [...beside.map((line, index) => ({ ...measuredTrace(line, "experiment"), showlegend: index === 0 })),
          ...lines.map((line, index) => lineTrace(line, label(line, lines), index))],
        layout: layoutOf("mol/kg", symbolOf(quantity) + (unit ? ` / ${unit}` : ""), true),
      }));
    }
  }

  function curvePanels(curves) {
    for (const [key, lines] of group(curves, (curve) => `${curve.quantity}|${curve.subject}`)) {
      const [quantity, subject] = key.split("|");
      const title = `${symbolOf(quantity)} of ${pairOf(subject)}`;
      panel(figures, title, `${nameOf(quantity)} of ${pairOf(subject)} against distance, ${lines.length} curves`, "", () => ({
        traces: lines.flatMap((curve, index) => curveTraces(curve, index)),
        layout: curveLayout(quantity, lines),
      }));
    }
  }

  function curveTraces(curve, index) {
    const names = Object.keys(curve.columns);
    const x = curve.columns[names[0]];
    const y = curve.columns[names[1]];
    const errors = names.find((name) => name.endsWith("standard_error"));
    const colour = COLOURS[index % COLOURS.length];
    const name = safe(`${curve.model || ""} ${curve.molality_mol_per_kg || ""}`.trim());
    const traces = [];
    if (errors) {
      const band = curve.columns[errors].map((e) => e || 0);
      traces.push({
        type: "scatter", mode: "lines", x: [...x, ...[...x].reverse()], hoverinfo: "skip", showlegend: false, fill: "toself",
        y: [...y.map((v, i) => v + band[i]), ...y.map((v, i) => v - band[i]).reverse()], fillcolor: colour + "33", line: { width: 0 },
      });
    }
    traces.push({ type: "scatter", mode: "lines", name: name + " mol/kg", x, y, line: { color: colour, width: 1.6 }, hovertemplate: "%{x:.3f} Å<br>%{y:.4g}<extra></extra>" });
    return traces;
  }

  function curveLayout(quantity, lines) {
    const made = layoutOf("r / Å", quantity === "pmf" ? "w / kT" : symbolOf(quantity), lines.length > 1);
    if (quantity === "pmf") {
      const low = Math.min(...lines.flatMap((curve) => Object.values(curve.columns)[1].filter((v) => v !== null)));
      made.yaxis.range = [Math.min(low, 0) - 0.7, Math.max(3, -low)];
    } else if (quantity === "rdf") { // error bands of rarely seen pairs would hide the curve itself
      const high = Math.max(1, ...lines.flatMap((curve) => (curve.columns.g || []).filter((v) => v !== null)));
      made.yaxis.range = [-0.05 * high, 1.15 * high];
    }
    return made;
  }

  function kept() {
    const temperature = choose.temperature.value;
    const fits = (line) => (!choose.quantity.value || line.quantity === choose.quantity.value)
      && (!choose.model.value || (line.model || "") === choose.model.value)
      && (!temperature || String(line.temperature_K) === temperature);
    return [data.series.filter(fits), data.curves.filter(fits)];
  }

  function show() {
    const [series, curves] = kept();
    figures.replaceChildren();
    const structure = ["coordination_number", "first_peak"];
    valuePanels(series.filter((line) => !structure.includes(line.quantity)));
    curvePanels(curves);
    valuePanels(series.filter((line) => structure.includes(line.quantity)));
    rows = series.flatMap((line) => line.value.map((value, i) => ({ line, value, error: line.error[i], molality: line.molality[i], hash: line.hash[i] })));
    start = 0;
    status.textContent = `${rows.length} values, ${curves.length} curves`;
    links();
    page();
  }

  function links() {
    for (const link of document.querySelectorAll("#filters a[data-kind]")) {
      const query = new URLSearchParams({ salt });
      if (choose.quantity.value) query.set("quantity", choose.quantity.value);
      if (choose.model.value) query.set("model", choose.model.value);
      link.href = `/api/download/${link.dataset.kind}?${query}`;
    }
  }

  function page() {
    const body = document.querySelector("#table tbody");
    body.replaceChildren(...rows.slice(start, start + PAGE).map((row) => element("tr", {},
      element("td", { className: "right", textContent: Number(row.molality.toPrecision(4)) }),
      element("td", { className: "right", textContent: row.line.temperature_K }),
      element("td", { textContent: `${pairOf(row.line.subject)} ${nameOf(row.line.quantity)}`.trim() }),
      element("td", { className: "value" }, element("a", { href: `/estimates/${row.hash}`, textContent: `${valueText(row.value, row.error)} ${unitOf(row.line.unit)}`.trim() })),
      element("td", { textContent: row.line.model || "–" }),
      element("td", { className: "soft", textContent: row.line.method }))));
    document.getElementById("shown").textContent = rows.length ? `${start + 1} to ${Math.min(start + PAGE, rows.length)} of ${rows.length}.` : "";
    document.getElementById("before").disabled = start === 0;
    document.getElementById("after").disabled = start + PAGE >= rows.length;
  }

  function fill(select, values) {
    for (const value of [...new Set(values)].sort()) select.append(element("option", { value, textContent: value }));
  }

  document.getElementById("before").addEventListener("click", () => { start -= PAGE; page(); });
  document.getElementById("after").addEventListener("click", () => { start += PAGE; page(); });
  Object.values(choose).forEach((select) => select.addEventListener("change", show));
  getJson(`/api/salts/${encodeURIComponent(salt)}`).then((answer) => {
    data = answer;
    fill(choose.model, [...data.series, ...data.curves].map((line) => line.model || "").filter(Boolean));
    fill(choose.temperature, data.series.map((line) => String(line.temperature_K)));
    show();
  }).catch((error) => { status.textContent = `The values could not be loaded: ${error.message}`; });
})();
