// Draws each .penalty-slider of a page: shape functions over the variation penalty. Data: mixnam/report/slider.py.
(() => {
  "use strict";
  const PLOTLY = new URL("plotly.min.js", document.currentScript.src).href;
  const LIGHT = {
    upper: "#0b2e6f", lower: "#c0392b", rows: "#4c8ed9", mean: "#444444", density: "#d9d2c3",
    text: "#323232", line: "#999999", zero: "#dddddd", box: "#ffffff",
  };
  const DARK = {
    upper: "#8db4ff", lower: "#ff8a7a", rows: "#4c8ed9", mean: "#cccccc", density: "#5a564c",
    text: "#ced6dd", line: "#777777", zero: "#444444", box: "#222832",
  };

  let loading;
  const plotly = () => {
    loading ??= new Promise((resolve, reject) => {
      if (window.Plotly) return resolve(window.Plotly);
      const script = document.createElement("script");
      script.src = PLOTLY;
      script.onload = () => (window.Plotly ? resolve(window.Plotly) : reject(new Error("no Plotly in it")));
      script.onerror = () => reject(new Error("it is not there"));
      document.head.append(script);
    });
    return loading;
  };

  const dark = () => document.documentElement.dataset.theme === "dark";

  const traces = (feature, at, colors) => {
    const line = (key, name, style) =>
      at[key] && {
        type: "scatter", mode: "lines", name, x: feature.x, y: at[key],
        line: { color: colors[key], ...style }, hovertemplate: "%{y:.3~g}",
      };
    const rows = {
      type: "scatter", mode: "markers", name: "rows", x: feature.rows, y: at.rows, hoverinfo: "skip", showlegend: false,
      marker: { color: colors.rows, size: 5, opacity: 0.55 },
    };
    return [
      rows,
      line("upper", "experts' bounds: upper", { width: 2 }),
      line("mean", "mean", { width: 1.5, dash: "dash" }),
      line("lower", "experts' bounds: lower", { width: 2 }),
    ].filter(Boolean);
  };

  const shading = (feature, colors) => {
    const [low, high] = feature.range;
    const width = (high - low) / feature.density.length;
    return feature.density.map((share, i) => ({
      type: "rect", layer: "below", xref: "x", yref: "paper", y0: 0, y1: 1, line: { width: 0 },
      x0: low + i * width, x1: low + (i + 1) * width, fillcolor: colors.density, opacity: 0.75 * share,
    })).filter((shape) => shape.opacity > 0);
  };

  // names as they are: Plotly reads tags in a text, and mathematics between dollars
  const plain = (text) => text.replace(/[&<>$]/g, (sign) => `&#${sign.charCodeAt(0)};`);

  const layout = (feature, unit, colors, plot) => {
    const narrow = plot.clientWidth < 560;
    const axis = {
      color: colors.text, fixedrange: true, showgrid: false, showline: true, linecolor: colors.line, ticks: "outside",
      tickcolor: colors.line, hoverformat: ".4~g",
    };
    return {
      width: plot.clientWidth, height: plot.clientHeight, dragmode: false, hovermode: "x unified", paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", font: { color: colors.text, size: narrow ? 11 : 13, family: getComputedStyle(plot).fontFamily },
      hoverlabel: { bgcolor: colors.box, bordercolor: colors.line, font: { color: colors.text } },
      margin: { l: narrow ? 48 : 64, r: 10, t: 32, b: narrow ? 44 : 52 },
      legend: { orientation: "h", x: 0, y: 1.01, xanchor: "left", yanchor: "bottom" },
      xaxis: { ...axis, title: { text: plain(feature.name), standoff: 8, font: { size: narrow ? 12 : 14 } }, range: feature.range, nticks: narrow ? 5 : 9 },
      yaxis: {
        ...axis, title: { text: unit ? `contribution (${plain(unit)})` : "contribution", standoff: 4, font: { size: narrow ? 12 : 14 } }, range: feature.y,
        zeroline: true, zerolinecolor: colors.zero, nticks: 7,
      },
      shapes: shading(feature, colors),
    };
  };

  const start = async (root) => {
    const part = (name) => root.querySelector(name);
    const note = part(".slider-note");
    const plot = part(".slider-plot");
    const [menu, range, output] = [part("select"), part("input"), part("output")];
    let Plotly;
    try {
      Plotly = await plotly();
    } catch (error) {
      note.append(` It cannot be drawn here: ${PLOTLY}: ${error.message}.`);
      return;
    }
    const data = JSON.parse(part("script[type='application/json']").textContent);
    const draw = () => {
      if (!plot.clientWidth) return; // not laid out, as in a closed section
      const feature = data.features[menu.value];
      const at = feature.at[range.value];
      const penalty = String(data.penalties[range.value]);
      const colors = dark() ? DARK : LIGHT;
      output.value = penalty;
      part(".slider-readings").textContent = data.readings[range.value];
      range.setAttribute("aria-valuetext", `λ = ${penalty}`);
      const widest = at.upper ? Math.max(...at.upper.map((u, i) => u - at.lower[i])) : 0;
      const bounds = at.upper ? `; its bounds are ${widest.toPrecision(2)} apart at most` : "";
      plot.setAttribute("aria-label", `Contribution of ${feature.name} at λ = ${penalty}${bounds}`);
      Plotly.react(plot, traces(feature, at, colors), layout(feature, data.unit, colors, plot), { displayModeBar: false });
    };
    for (const hidden of root.querySelectorAll("[hidden]")) hidden.hidden = false;
    note.hidden = true;
    menu.addEventListener("change", draw);
    range.addEventListener("input", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(draw).observe(plot); // its first call draws the plot
  };

  const all = () => document.querySelectorAll(".penalty-slider").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
