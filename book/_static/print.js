// A printed lesson is a handout: light, with its answers closed. At the address #print-solutions the
// solutions are open, on the screen too, so that one sees what will be printed.
(() => {
  const root = document.documentElement;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const solutions = () => all(".bd-article section > details:not(.sd-dropdown)");
  const answers = () => [...solutions(), ...all(".dlopt-predict details")];
  const show = () => {
    if (location.hash !== "#print-solutions") return;
    for (const solution of solutions()) solution.open = true;
  };

  let screen = null; // how the page was before it is printed
  const print = () => {
    if (screen) return;
    screen = { theme: root.dataset.theme, open: answers().filter((answer) => answer.open) };
    root.dataset.theme = "light";
    for (const answer of answers()) answer.open = false;
    show();
  };
  const restore = () => {
    if (!screen) return;
    root.dataset.theme = screen.theme;
    for (const answer of answers()) answer.open = screen.open.includes(answer);
    screen = null;
  };

  addEventListener("beforeprint", print);
  addEventListener("afterprint", restore);
  matchMedia("print").addEventListener("change", (media) => (media.matches ? print : restore)());
  addEventListener("DOMContentLoaded", show);
  addEventListener("hashchange", show);
})();
