// Draws the figures of the page in its own colours, again when these change, and in the width of the paper for printing.
(() => {
  const PAPER_PX = 680;
  const root = document.documentElement;
  const figures = [...document.querySelectorAll(".figure")];

  function colours(layout) {
    const style = getComputedStyle(root);
    const [ink, line, paper] = ["--ink", "--line", "--paper"].map((name) => style.getPropertyValue(name).trim());
    const update = {
      "font.color": ink, "legend.font.color": ink, "hoverlabel.bgcolor": paper, "hoverlabel.bordercolor": line,
      "hoverlabel.font.color": ink, "modebar.color": line, "modebar.activecolor": ink, "modebar.bgcolor": "rgba(0,0,0,0)",
    };
    for (const axis of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      for (const part of ["gridcolor", "zerolinecolor", "linecolor"]) update[`${axis}.${part}`] = line;
    }
    return update;
  }

  function draw(div) {
    const { data, layout } = JSON.parse(document.getElementById(div.dataset.source).textContent);
    const options = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    return Plotly.newPlot(div, data, layout, options).then(() => Plotly.relayout(div, colours(div.layout)));
  }

  function restyle(width) {
    for (const div of figures) Plotly.relayout(div, { ...colours(div.layout), width });
  }

  for (const div of figures) draw(div);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => restyle());
  addEventListener("beforeprint", () => { root.classList.add("printed"); restyle(PAPER_PX); });
  addEventListener("afterprint", () => { root.classList.remove("printed"); restyle(null); });
})();
