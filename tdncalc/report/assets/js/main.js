// Open the page: unpack, show the first view, change views.

async function open() {
  const main = document.getElementById("main");
  let data;
  try {
    data = await openData();
  } catch (error) {
    main.replaceChildren(make("p", { class: "note", text: `This browser cannot open the report (${error.message}); use one of 2023 or later.` }));
    return;
  }
  const stage = new Stage();
  const views = data.runs.map((run) => [run.name, () => runView(data, run, stage)]);
  if (data.comparison) views.unshift(["Comparison", () => comparisonView(data, stage)]);
  let current = null;
  const show = (k) => {
    if (current && current.player) current.player.stop();
    stage.mark([], []);
    current = views[k][1]();
    main.replaceChildren(current.page);
    [...nav.children].forEach((button, j) => button.setAttribute("aria-current", j === k ? "page" : "false"));
    current.start();
    return k;
  };
  const nav = document.getElementById("views");
  if (views.length > 1) views.forEach(([name], k) => nav.append(make("button", { type: "button", text: tail(name), title: name, onclick: () => { shown = show(k); } })));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, button, summary, [role=region]");
    if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) current.key(event);
  });
  document.getElementById("footer").replaceChildren(...footer(data));
  let shown = show(data.comparison && !comparable(data) ? 1 : 0);
  startTheme(() => show(shown));
  stage.begin(await loadViewer());
  main.dataset.ready = "yes";
}

/** The end of a long path. */
function tail(name) {
  return name.length > 34 ? `…${name.slice(-33)}` : name;
}

open();
