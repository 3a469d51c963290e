// The filter of the claims page: everything it offers, it finds on the page.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".claims-filter");
  if (!form) return;
  const { verdict, lesson } = form.elements;
  const sections = [...document.querySelectorAll(".claims-lesson")];
  const claims = [...document.querySelectorAll(".claims-lesson .claim")];
  const verdictOf = (claim) => claim.querySelector(".verdict").textContent.trim();

  const offer = (select, value, text) => select.add(new Option(text, value));
  for (const badge of document.querySelectorAll(".claims-totals .verdict")) {
    const name = badge.textContent.trim();
    const count = claims.filter((claim) => verdictOf(claim) === name).length;
    if (count) offer(verdict, name, `${name} (${count})`);
  }
  for (const section of sections) {
    const count = section.querySelectorAll(".claim").length;
    const heading = section.querySelector("h2").cloneNode(true);
    heading.querySelector(".headerlink")?.remove();
    offer(lesson, section.id, `${heading.textContent.trim()} (${count})`);
  }

  const show = () => {
    for (const claim of claims) claim.hidden = verdict.value && verdictOf(claim) !== verdict.value;
    for (const section of sections) {
      section.hidden = (lesson.value && section.id !== lesson.value)
        || !section.querySelector(".claim:not([hidden])");
    }
    const shown = claims.filter((claim) => !claim.closest("[hidden]")).length;
    form.querySelector("output").value = `${shown} of ${claims.length} shown`;
  };
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A link to a claim that the filter hides takes the filter away.
  addEventListener("click", (event) => {
    const target = event.target.closest?.('a[href^="#"]')?.hash.slice(1);
    if (target && document.getElementById(target)?.closest(".claims-lesson [hidden], .claims-lesson[hidden]")) {
      form.reset();
      show();
    }
  });
  form.reset();
  form.hidden = false;
  show();
});
