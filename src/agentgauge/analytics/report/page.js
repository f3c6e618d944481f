"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const hues = ["#1f77b4", "#e8710a", "#2e9e5b", "#c2388c", "#7b5bd6", "#8c6d31", "#1aa6b7", "#c0392b", "#6b7785", "#a0a000"];
  const faded = (hue) => hue + "2e";

  const traces = (chart) => {
    const x = chart.times;
    return chart.series.flatMap((one, index) => {
      const color = hues[index % hues.length];
      const line = { x, y: one.values, name: one.name, type: "scatter", mode: one.is_sparse ? "lines+markers" : "lines",
        line: { color, width: 1.6 }, marker: { size: 4 }, legendgroup: String(index), connectgaps: false };
      if (!one.low) return [line];
      const edge = { x, type: "scatter", mode: "lines", line: { width: 0, color }, hoverinfo: "skip", showlegend: false,
        legendgroup: String(index) };
      return [{ ...edge, y: one.low }, { ...edge, y: one.high, fill: "tonexty", fillcolor: faded(color) }, line];
    });
  };

  const layout = (chart) => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const grid = style.getPropertyValue("--line").trim();
    const paper = style.getPropertyValue("--paper").trim();
    const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid };
    return {
      paper_bgcolor: paper, plot_bgcolor: paper, font: { color: ink, size: 12 }, margin: { l: 64, r: 16, t: 32, b: 40 },
      hovermode: "x unified", hoverlabel: { bgcolor: paper, font: { color: ink } }, showlegend: true,
      legend: { orientation: "h", y: -0.28 },
      xaxis: { ...axis, type: "date", tickangle: 0, nticks: Math.max(3, Math.floor(innerWidth / 160)) },
      yaxis: { ...axis, rangemode: "tozero", tickformat: chart.tick_format, tickprefix: chart.prefix, ticksuffix: chart.suffix },
      shapes: chart.marks.map((mark) => ({ type: "rect", xref: "x", yref: "paper", x0: mark.start, x1: mark.end, y0: 0, y1: 1,
        fillcolor: "#d9820033", line: { color: "#d98200", width: mark.start === mark.end ? 1.5 : 0 }, layer: "below" })),
      annotations: chart.marks.map((mark) => ({ x: mark.start, y: 1, xref: "x", yref: "paper", text: mark.title, showarrow: false,
        xanchor: "left", yanchor: "top", font: { size: 11 } })),
    };
  };

  const draw = () => charts.forEach((chart) => Plotly.react(chart.id, traces(chart), layout(chart),
    { responsive: true, displaylogo: false, showTips: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] }));
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
