/* Light or dark: the system's choice, until the reader makes one. */
const Theme = (() => {
  const key = "nas360-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  // storage is refused in some frames; the choice then holds for this visit
  const stored = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const store = (value) => {
    try {
      localStorage.setItem(key, value);
    } catch {
      /* see above */
    }
  };
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  const start = () => {
    const button = Dom.get("theme");
    const label = () => {
      button.textContent = dark() ? "Light theme" : "Dark theme";
    };
    if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      store(root.dataset.theme);
      label();
    });
    system.addEventListener("change", label);
    label();
  };

  return { start };
})();
