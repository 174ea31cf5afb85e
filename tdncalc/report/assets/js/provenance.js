// How a run was made: the command, its settings, the machine and the model.

function provenance(run) {
  const cards = run.groups.map((group) => card(group.title, {}, definitions(group.rows)));
  if (run.model) cards.push(modelCard(run.model));
  return make("section", { class: "made" }, make("h2", { text: "How it was made" }), commandLine(run.command), make("div", { class: "grid" }, ...cards));
}

function commandLine(command) {
  if (!command) return null;
  const button = make("button", { type: "button", class: "quiet", text: "Copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
    }
  } });
  const code = make("code", { text: command });
  return make("div", { class: "command card" }, code, button);
}

function definitions(rows) {
  const list = make("dl", { class: "facts" });
  for (const [name, value] of rows) list.append(make("dt", { text: name }), make("dd", { text: value }));
  return list;
}

function modelCard(model) {
  const note = model.note ? make("p", { class: "muted", text: model.note }) : null;
  return card(`Model ${model.name}`, {}, note, definitions(model.rows));
}

function footer(data) {
  const { viewer } = data;
  const licence = make("details", {}, make("summary", { text: `Contains ${viewer.name} ${viewer.version} (${viewer.licence})` }), make("pre", { text: viewer.text }));
  return [make("p", { text: `Made by tdncalc ${data.version}, ${data.created}. This page needs no network.` }), licence];
}
