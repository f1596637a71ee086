// Everything here also works without: forms have a button, links lead on, tables are whole.
(() => {
  "use strict";
  const root = document.documentElement;
  const store = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
                  set: (v) => { try { localStorage.setItem("theme", v); } catch { /* a private window */ } } };
  root.classList.add("js");
  const chosen = store.get();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

  function themeButton() {
    const button = document.querySelector("button.theme");
    if (!button) return;
    const say = () => {
      button.setAttribute("aria-pressed", String(isDark()));
      button.textContent = isDark() ? "Light" : "Dark";
    };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      store.set(root.dataset.theme);
      say();
    });
    say();
  }

  // A form marked data-live asks for its own page while one types and puts the parts it names in place.
  function live(form) {
    let timer = 0, asked = 0;
    const ask = async () => {
      const fields = new URLSearchParams();
      for (const [name, value] of new FormData(form)) if (String(value).trim()) fields.append(name, value);
      const url = new URL(form.action);
      url.search = fields;
      const mine = ++asked;
      const parts = form.dataset.live.split(" ");
      for (const id of parts) document.getElementById(id)?.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(url, { headers: { Accept: "text/html" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (mine !== asked) return;
        for (const id of parts) {
          const fresh = page.getElementById(id), old = document.getElementById(id);
          if (fresh && old) old.replaceWith(document.adoptNode(fresh));
        }
        if (answer.ok) history.replaceState(null, "", url);
        copyButtons();
        chartButtons();
      } catch {
        form.submit();
      }
    };
    form.addEventListener("input", (event) => {
      const shown = form.querySelector(`output[for="${event.target.id}"]`);
      if (shown) shown.value = event.target.value;
      clearTimeout(timer);
      timer = setTimeout(ask, 250);
    });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); ask(); });
  }

  function copyButtons() {
    for (const button of document.querySelectorAll("button[data-copy]:not([data-ready])")) {
      button.dataset.ready = "1";
      button.addEventListener("click", async () => {
        try {
          const answer = await fetch(button.dataset.copy);
          await navigator.clipboard.writeText(await answer.text());
          button.textContent = "copied";
        } catch {
          location.href = button.dataset.copy;
        }
      });
    }
  }

  // The same spec that the picture was drawn from, drawn here. Vega runs its expressions in an interpreter, so
  // the page's policy needs no eval; its colours become variables of the page, which follow the theme.
  const drawers = new Map();
  const loaded = (source) => {
    if (!drawers.has(source)) drawers.set(source, new Promise((done, failed) => {
      const script = Object.assign(document.createElement("script"), { src: source, onload: done });
      script.onerror = () => { drawers.delete(source); script.remove(); failed(new Error(source)); };
      document.head.append(script);
    }));
    return drawers.get(source);
  };
  const ink = { labelColor: "var(--ink)", titleColor: "var(--ink)" };
  const looks = {
    background: "transparent", font: "inherit", view: { stroke: "var(--rule)" }, legend: ink,
    axis: { ...ink, domainColor: "var(--rule)", tickColor: "var(--rule)", gridColor: "var(--rule)" },
    title: { color: "var(--ink)", subtitleColor: "var(--ink)" },
  };

  function chartButtons() {
    for (const button of document.querySelectorAll("button[data-chart]:not([data-ready])")) {
      button.dataset.ready = "1";
      button.addEventListener("click", async () => {
        const place = button.closest("figure").querySelector(".chart");
        button.disabled = true;
        place.setAttribute("aria-busy", "true");
        try {
          const [answer] = await Promise.all([fetch(button.dataset.chart), loaded(button.dataset.drawer)]);
          if (!answer.ok) throw new Error(answer.status);
          const colours = JSON.parse(button.dataset.colours);
          const spec = JSON.parse(await answer.text(), (_, value) => colours[value] ?? value);
          const fresh = document.createElement("div");
          fresh.className = "live";
          await vegaEmbed(fresh, spec, {
            ast: true, actions: false, defaultStyle: false, renderer: "svg", config: looks,
            tooltip: { disableDefaultStyle: true }, logLevel: 1,
          });
          place.replaceChildren(fresh);
          button.textContent = "interactive: point at it, drag to move, shift and wheel to zoom";
        } catch {
          button.disabled = false;
          button.textContent = "that failed: try again";
        } finally {
          place.removeAttribute("aria-busy");
        }
      });
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    copyButtons();
    chartButtons();
    for (const form of document.querySelectorAll("form[data-live]")) live(form);
  });
})();
