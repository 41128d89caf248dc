// An open history waits for news and puts new lines in above what is being read. For any phone that runs scripts.
(function () {
  'use strict';
  var LATE_S = 4, LATE_MAX_S = 300, PATIENCE_MS = 60000;
  var box = part(document, 'gerak'), failures = 0, rests = false;

  function part(page, id) { return page.getElementById(id); }
  function show(id, shown) { part(document, id).hidden = !shown; }
  function spread() { return .75 + Math.random() / 2; }
  function later(seconds) { setTimeout(follow, 1000 * seconds); }
  function top(line) { return line.getBoundingClientRect().top; }

  function stop() {
    ['ikut', 'tertunda', 'ada'].forEach(function (id) { show(id, false); });
    show('berhenti', true);
  }

  // Busy, broken or away: later each time, never all at once, never before the server said.
  function late(retryAfter) {
    var seconds = Math.min(LATE_MAX_S, LATE_S * Math.pow(2, failures++));
    show('tertunda', true);
    later(Math.max(seconds * spread(), (+retryAfter || 0) * (1 + Math.random() / 2)));
  }

  function ask(url, type, then) {
    var request = new XMLHttpRequest();
    request.open('GET', url);
    request.responseType = type;
    request.timeout = PATIENCE_MS;
    request.onload = function () {
      if (request.status === 429 || request.status >= 500) return late(request.getResponseHeader('Retry-After'));
      if (request.status !== 200) return stop();
      failures = 0;
      show('tertunda', false);
      then(request.response);
    };
    request.onerror = request.ontimeout = function () { late(0); };
    request.send();
  }

  // What nobody sees asks for nothing once its wait is over.
  function follow() {
    rests = document.hidden;
    if (!rests) ask(box.getAttribute('data-news') + '?after=' + box.getAttribute('data-position'), '', heard);
  }

  function heard(text) {
    var position;
    try { position = JSON.parse(text).position; } catch (e) { /* the page to sign in */ }
    if (!position) stop();
    else if (position === box.getAttribute('data-position')) later(spread());
    else ask(location.href, 'document', put);
  }

  function put(page) {
    var fresh = page && part(page, 'gerak');
    if (!fresh) return stop();
    ['dibuat', 'lain'].forEach(function (id) { part(document, id).innerHTML = part(page, id).innerHTML; });
    var lines = box.querySelector('ol'), newer = fresh.querySelector('ol');
    if (lines && newer) merge(lines, newer);
    else box.innerHTML = fresh.innerHTML;
    box.setAttribute('data-position', fresh.getAttribute('data-position'));
    show('ada', false);
    setTimeout(function () { show('ada', true); }, 50);
    later(spread());
  }

  // The line being read stays where it is on the screen, and every line that stays is the same element: no focus is lost.
  function merge(lines, newer) {
    var at = lines.firstElementChild, read = at, gone, before;
    while (read && read.getBoundingClientRect().bottom <= 0) read = read.nextElementSibling;
    if (read) before = top(read);
    var keeps = read !== at || before < 0;
    [].slice.call(newer.children).forEach(function (line) {
      if (at && at.innerHTML === line.innerHTML) at = at.nextElementSibling;
      else lines.insertBefore(line, at);
    });
    while (gone = at) {
      at = at.nextElementSibling;
      lines.removeChild(gone);
    }
    if (keeps && read && read.parentNode) scrollBy(0, top(read) - before);
  }

  document.addEventListener('visibilitychange', function () { if (rests && !document.hidden) follow(); });
  show('ikut', true);
  later(spread());
})();
