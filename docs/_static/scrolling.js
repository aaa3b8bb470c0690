// Code, tables and pictures that are wider than the page scroll in themselves. Those that do can be reached by
// the Tab key here, so that the arrow keys scroll them: Safari leaves them out otherwise.
function reachable() {
  for (const element of document.querySelectorAll('pre, .table-wrapper, p:has(> img[src$=".svg"])')) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  }
}
reachable();
addEventListener("resize", reachable);
addEventListener("load", reachable);
