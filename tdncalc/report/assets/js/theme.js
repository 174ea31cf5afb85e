// Light and dark: the system's choice until the reader makes one.

function startTheme(onchange) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    onchange();
  });
  system.addEventListener("change", onchange);
}
