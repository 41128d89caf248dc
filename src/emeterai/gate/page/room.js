const $ = i => document.getElementById(i), lane = location.pathname.split('/')[2], here = '/gate/' + lane, sub = self.crypto && crypto.subtle;
let mine, now, said, rung, sound, timer, asked, title = document.title;
try { mine = JSON.parse(localStorage[here] || 'null') } catch (e) {}
const num = n => n != null ? n.toLocaleString('id-ID') : '–', put = (i, t) => { $(i).textContent = t };
const tell = (i, id, en) => {
  const e = $(i);
  e.hidden = !id;
  if (e.t === id) return;
  e.t = id;
  e.textContent = id;
  if (en) { const s = document.createElement('small'); s.lang = 'en'; s.append(en); e.append(' ', s) }
};
// The wait in seconds, at least and at most: ahead divided by the quickest and the slowest rate. null: nobody can tell.
const wait = (ahead, r) => ahead <= 0 ? [0, 0] : [r.high > 0 ? ahead / r.high : 0, r.low > 0 ? ahead / r.low : null];
const span = (low, high) => {
  if (high === null) return ['Belum dapat diperkirakan', 'Cannot be told yet'];
  if (high < 60) return ['Tunggu kurang dari 1 menit', 'Wait less than a minute'];
  const h = high >= 5400, d = h ? 3600 : 60, a = Math.floor(low / d), b = Math.ceil(high / d), t = a === b ? a : a + '–' + b;
  return ['Tunggu sekitar ' + t + (h ? ' jam' : ' menit'), 'Wait about ' + t + (h ? ' h' : ' min')];
};
const lookAgain = (s, chance) => (s === null ? 60 : Math.min(60, Math.max(2, s / 10))) * (.75 + chance / 2);
const hmac = async (k, m) => sub.sign('HMAC', await sub.importKey('raw', k, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']), m);
// The draw, as core/draw.py explains it.
const drawn = async (n, d, name) => {
  const seed = Uint8Array.from(d.seed.match(/../g), x => '0x' + x);
  const k = await hmac(seed, new TextEncoder().encode('emeterai draw 1|' + name + '|' + d.count));
  const m = 2 ** Math.max(4, Math.ceil((32 - Math.clz32(d.count - 1)) / 2));
  let x = n - 1;
  do {
    let l = Math.floor(x / m), r = x % m;
    for (let i = 0; i < 10; i++) {
      const f = new DataView(await hmac(k, Uint8Array.of(i, r >>> 24, r >>> 16, r >>> 8, r))).getUint32(0);
      [l, r] = [r, (l ^ f % m) >>> 0];
    }
    x = l * m + r;
  } while (x >= d.count);
  return x + 1;
};
const post = async (path, body, again) => {
  const a = await fetch(here + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body || {}) });
  const j = await a.json().catch(() => ({}));
  if (a.ok) return j;
  if (j.code === 'ticket_unknown' && mine && mine.c) {
    // The browser has lost its ticket, and the code brings it back. What the code does not know either is forgotten.
    if (!again) return take(mine.c).then(() => post(path, body, 1), x => { throw x.code === 'code_unknown' ? j : x });
    j.code = 0;
  }
  throw j;
};
const oops = e => {
  // Another's ticket, or none of ours: this browser takes a number of its own at the next look.
  if (/^ticket_/.test(e.code)) keep(null);
  $('acc').hidden = !e.sign_in;
  tell('err', e.id || 'Sambungan terputus.' + (mine ? ' Tempat Anda tetap.' : ''), e.en || 'No connection.' + (mine ? ' Your place is safe.' : ''));
};
const keep = t => {
  mine = t && { n: t.number, t: t.turn, c: t.recovery_code };
  try { localStorage[here] = JSON.stringify(mine) } catch (e) {}
};
// Who comes back to the tab while it asks for a number must not get two.
const take = async code => {
  asked = code ? post('/tickets', { code }) : asked || post('/tickets');
  keep(await asked.finally(() => { asked = 0 }));
  $('acc').hidden = 1; tell('err', ''); rung = 0;
};
const turnOf = async () => {
  const d = now.draw;
  if (d && !d.seed) return;
  if (!d || mine.n > d.count) mine.t = mine.n;
  else if (!mine.t || mine.d !== d.seed) {
    // Whatever turn was told before the draw is none any more.
    if (sub) mine.t = await drawn(mine.n, d, lane);
    else await take(mine.c);
    mine.d = d.seed;
  }
  return mine.t;
};
const ring = () => {
  if (rung) return;
  rung = 1;
  document.title = '★ Giliran Anda! ' + title;
  if (!sound) return;
  const o = sound.createOscillator();
  o.connect(sound.destination); o.start(); o.stop(sound.currentTime + .6);
};
const draw = async late => {
  const st = now.state, t = await turnOf(), left = t ? t - now.now_serving : 0, ahead = Math.max(0, left - 1), w = t ? wait(left, now.turns_per_s) : [0, null];
  const over = t && t < now.grace_from, go = t && !over && left <= 0 && st === 'open';
  const head = over ? ['Giliran Anda sudah lama lewat.', 'Your turn was long ago.'] : go ? ['Giliran Anda!', 'It is your turn!']
    : st === 'before_opening' ? ['Belum dibuka. Anda ikut undian.', 'Not open yet. You are in the draw.']
    : st === 'paused' ? ['Dihentikan sementara.', 'Paused for now.'] : st === 'closed' ? ['Sudah ditutup.', 'Closed.']
    : span(...w);
  tell('h', ...head);
  put('n', num(mine.n)); put('t', num(t)); put('s', num(now.now_serving)); put('a', t ? num(ahead) : '–'); put('c', mine.c);
  $('code').hidden = !mine.c; $('in').hidden = !go; $('new').hidden = !over; $('call').hidden = !now.calls || go || over || st === 'closed';
  const m = now.message, y = now.why;
  tell('msg', m && (m.id || m.en), m && m.en);
  tell('why', y && y.id, y && y.en);
  tell('open', st === 'before_opening' && now.opens_at ? 'Dibuka ' + new Date(now.opens_at).toLocaleString('id-ID', { dateStyle: 'long', timeStyle: 'short', timeZone: 'Asia/Jakarta' }) + ' WIB' : '');
  tell('late', late ? 'Kabar ini sudah ' + late + ' detik. Tempat Anda tetap.' : '', 'This news is ' + late + ' seconds old. Your place is safe.');
  if (go) ring(); else document.title = head[0] + ' – ' + title;
  const say = [...head, ...(m ? [m.id, m.en] : [])].join(' / ');
  if (said !== say) put('live', said = say);
  return go || over ? null : w[0];
};
const look = async () => {
  clearTimeout(timer);
  let s = 5;
  try {
    const a = await fetch(here + '.json');
    // Gone with its lane: there it is said, and asked no more.
    if (a.status === 404) return location = here + '/giliran';
    if (!a.ok) throw await a.json();
    now = await a.json();
    if (!mine) await take();
    const at = Date.parse(a.headers.get('date')), old = (at - Date.parse(now.updated_at)) / 1000;
    s = await draw(old > 15 ? Math.round(old) : 0);
    if (now.state === 'before_opening') s = now.opens_at ? Math.max(20, (Date.parse(now.opens_at) - at) / 1000) : null;
    tell('err', '');
  } catch (e) { oops(e); s = 10 * (e.retry_after_s || 5) }
  timer = setTimeout(look, 1000 * lookAgain(s, Math.random()));
};
const doing = f => async e => { e.preventDefault(); try { await f(e.target) } catch (x) { oops(x) } };
$('in').onclick = doing(async () => { await post('/passes'); location = $('in').dataset.to });
$('new').onclick = doing(async () => { keep(null); await look() });
$('leave').onsubmit = doing(async () => { await post('/leave'); keep(null); location = '/' });
$('find').onsubmit = doing(async f => { await take(f.code.value); await look() });
$('call').onsubmit = doing(async f => { const to = f.to.value; await post('/calls', /@/.test(to) ? { email: to } : { phone: to }); tell('called', 'Baik, Anda akan kami panggil.', 'We shall call you.') });
$('sound').onchange = e => { sound = e.target.checked && new AudioContext() };
document.onvisibilitychange = () => document.hidden || look();
look();
