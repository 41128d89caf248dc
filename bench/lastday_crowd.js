// The crowd of `emeterai bench lastday`: people who come whether or not they are served (an open loop), and scripts.
//
// One VU is a neighbourhood with an address of its own; its people live side by side in its event loop, and those who
// wait are words in a list, so a hundred thousand of them cost a few hundred bytes each.
import exec from 'k6/execution';
import { allGone, dayBegins, END, happening, HAS_SCRIPTS, live, over, START } from './lastday_arrivals.js';
import { hammer, SCRIPTS_COUNT } from './lastday_scripts.js';
import { uploaded } from './lastday_upload.js';
import { bump, comesFrom, flush, json, send, sleep, tell } from './lastday_voice.js';

const BASE = __ENV.BASE, ROOM = __ENV.ROOM, SANDBOX = __ENV.SANDBOX, BANK = __ENV.BANK;
const VUS = Number(__ENV.VUS), FIRST = Number(__ENV.FIRST), THINK = Number(__ENV.THINK);
const SEED = __ENV.SEED, PASSWORD = __ENV.PASSWORD, CLOSED = Number(__ENV.CLOSED || 0);
const BADLY = Number(__ENV.BADLY || 0.05), CALLED = Number(__ENV.CALLED || 0);
const RELOADS = 0.03, LEAVES = 0.05, SIGNED_IN = 7;
const letter = open(__ENV.LETTER, 'b'), mark = Number(__ENV.MARK);
const FINISH = 'finish', BUY = 'buy', BROWSE = 'browse';

export const options = {
  batch: 40,
  batchPerHost: 40,
  systemTags: [],
  scenarios: {
    people: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: '2h', exec: 'neighbourhood' },
    ...(HAS_SCRIPTS
      ? { scripts: { executor: 'per-vu-iterations', vus: SCRIPTS_COUNT, iterations: 1, maxDuration: '2h', exec: 'scripts' } }
      : {}),
  },
};

// ---- small tools

// As a proxy does it: the front page and the waiting room have a process of their own, whoever is called goes inside.
const isOutside = (path) => path === '/' || (path.startsWith('/gate/') && !path.endsWith('/passes'));
const at = (path) => (isOutside(path) ? ROOM : BASE) + path;
const lookAgain = (s, chance) => (s === null ? 60 : Math.min(60, Math.max(2, s / 10))) * (0.75 + chance / 2); // as the page does

class Person {
  constructor(number) {
    this.number = number;
    this.contact = `warga-${number}@contoh.id`;
    this.token = number % 10 < SIGNED_IN ? `ems_${SEED}${String(number).padStart(16, '0')}` : null;
    this.rich = number % 2 === 0;
    this.badly = Math.random() < BADLY;
    this.pass = null;
    this.thought_ms = 0;
  }

  async think() {
    const s = THINK * -Math.log(1 - 0.98 * Math.random());
    this.thought_ms += 1000 * s;
    await sleep(s);
  }

  headers(more) {
    return {
      'Content-Type': 'application/json',
      ...(this.token ? { Authorization: `Bearer ${this.token}` } : {}),
      ...(this.pass ? { 'emeterai-pass': this.pass } : {}),
      ...more,
    };
  }

  async ask(cls, name, method, path, body, more, options) {
    const began = Date.now(), answer = await send(method, at(path), body, this.headers(more), options);
    tell('r', began, cls, name, answer.status, Date.now() - began, this.pass ? 1 : 0);
    return answer;
  }

  // Ask until there is an answer: politely when Retry-After says, or at once again and again for those who cannot wait.
  async insist(cls, name, method, path, body, more, options) {
    const until = Date.now() + 60000;
    for (let tries = 0; ; tries++) {
      const answer = await this.ask(cls, name, method, path, body, more, options);
      if (answer.status && answer.status !== 503 && answer.status !== 429 && answer.status !== 502) return answer;
      if (json(answer).code === 'pass_needed') return answer;
      if (Date.now() > until || over()) return null;
      const told = Number(answer.headers['Retry-After'] || 0);
      await sleep(this.badly ? 0.1 + 0.2 * Math.random() : Math.max(told, Math.min(8, 0.5 * 2 ** tries)) * (1 + Math.random() / 2));
    }
  }
}

// ---- outside: look, take a number, wait, come in

// What is for everybody a neighbourhood keeps for as long as it may (Cache-Control), as the cache of a network does.
const kept = {};
let read = {};
async function shared(path, name, headers, kind) {
  const known = kept[path];
  if (known && Date.now() < known.until) return known.answer;
  const asking = send('GET', at(path), null, headers, { seconds: 10, kind });
  kept[path] = { until: Date.now() + 10000, answer: asking }; // whoever comes meanwhile waits for the same answer
  const answer = await asking, age = /max-age=(\d+)/.exec(answer.headers['Cache-Control'] || '');
  bump(`origin-${name}`, answer.status);
  kept[path].until = answer.status === 200 && age ? Date.now() + 1000 * age[1] : 0;
  return answer;
}

async function look(people) {
  bump('look', 200, people);
  const answer = await shared('/gate/retail.json', 'look', {}, 'text');
  if (answer.status !== 200) return null;
  if (read.answer !== answer) read = { answer, now: json(answer) }; // once for all who share it
  return read.now;
}

// Whoever waits is a few words in the list of the half second in which they look again: no timer, no suspended call. A
// hundred thousand of those would keep the generator's collector busy instead of its crowd.
const lists = new Map(), HALF_S = 500;
const lookAt = (one, ms) => {
  const at = Math.floor((Date.now() + ms) / HALF_S) + 1;
  if (lists.has(at)) lists.get(at).push(one);
  else lists.set(at, [one]);
};

async function joinLine(who) {
  bump('room', 200);
  await shared('/gate/retail', 'room', { Accept: 'text/html', 'Accept-Encoding': 'gzip' }, 'none');
  const got = await number(who);
  if (!got) return;
  const { number: mine, turn, ticket, wait } = got.given, { low_s, high_s } = wait || {}, { sent } = got;
  const one = { who, mine, turn, ticket, low_s, high_s, sent, got: Date.now(), reloads: Math.random() < RELOADS };
  lookAt(one, 0);
  if (CALLED && Math.random() < CALLED) await askForCall(one);
}

// Some want an e-mail when their turn is near; here they go on looking all the same.
async function askForCall(one) {
  const body = JSON.stringify({ email: one.who.contact, ticket: one.ticket });
  const answer = await send('POST', at('/gate/retail/calls'), body, one.who.headers(), { seconds: 15 });
  bump('call', answer.status);
}

async function waitTogether() {
  for (let at = Math.floor(START / HALF_S); Date.now() < END; at++) {
    const early = at * HALF_S - Date.now();
    if (early > 0) await sleep(early / 1000);
    const list = lists.get(at);
    if (!list) continue;
    lists.delete(at);
    const now = await look(list.length);
    for (const one of list) {
      const left = now ? (one.turn || one.mine) - now.now_serving : 1, high = now ? now.turns_per_s.high : 0;
      if (left <= 0 && now.state === 'open') {
        if (Math.random() >= LEAVES) live(() => called(one));
      } else if (one.reloads) {
        live(reload);
        lookAt(one, 2000 + 4000 * Math.random());
      } else {
        lookAt(one, 1000 * lookAgain(now ? (high > 0 ? left / high : 0) : 50, Math.random()));
      }
    }
  }
}

async function reload() {
  const page = await send('GET', at('/gate/retail'), null, { Accept: 'text/html', 'Cache-Control': 'no-cache' }, { seconds: 10, kind: 'none' });
  bump('reload', page.status);
}

async function number(person) {
  for (let tries = 0; tries < 20; tries++) {
    const sent = Date.now(), answer = await send('POST', at('/gate/retail/tickets'), '{}', person.headers(), { seconds: 15 });
    bump('ticket', answer.status);
    if (answer.status === 201) return { given: json(answer), sent };
    if (Date.now() > END) return null;
    await sleep(person.badly ? 0.2 : 2 + 3 * Math.random());
  }
  return null;
}

async function called(one) {
  const since = Date.now(), body = JSON.stringify({ ticket: one.ticket });
  while (Date.now() < END) {
    const answer = await send('POST', at('/gate/retail/passes'), body, one.who.headers(), { seconds: 15 });
    bump('pass', answer.status);
    if (answer.status === 201) {
      one.who.pass = json(answer).granted;
      tell('in', Date.now(), one.mine, one.sent, one.got, one.low_s, one.high_s, since, one.turn);
      return await inside(one.who);
    }
    await sleep(2);
  }
}

// ---- inside: sign in, buy, pay, upload, stamp, look, download

async function finish(person) {
  const began = Date.now(), by_pass = person.pass ? 1 : 0;
  person.thought_ms = 0;
  tell('enter', began, by_pass);
  let stamps = 0, why = 'gone';
  try {
    why = await signedIn(person);
    if (!why && !person.rich) why = await bought(person);
    if (!why) {
      await person.think();
      why = await stamped(person);
      stamps = why ? 0 : 1;
    }
  } catch (error) {
    why = `error ${error}`;
    console.error(why);
  }
  const now = Date.now();
  tell('out', now, now - began, stamps, why || 'done', person.number, by_pass, Math.round(person.thought_ms));
  return why;
}

// Why somebody left: what was answered; or that nothing was, for a minute or until the day was over.
const refusal = (answer) => {
  if (answer) return json(answer).code || `status ${answer.status}`;
  return over() ? 'gone' : 'no answer';
};

async function signedIn(person) {
  if (!person.token) {
    const body = JSON.stringify({ contact: person.contact, password: PASSWORD });
    const answer = await person.insist(BUY, 'sign in', 'POST', '/v1/sessions', body);
    if (!answer || answer.status !== 201) return refusal(answer);
    person.token = json(answer).token;
  }
  await person.think();
  await person.ask(BROWSE, 'quota', 'GET', '/v1/quota');
  return null;
}

async function bought(person) {
  const body = JSON.stringify({ quantity: 1 + (person.number % 3) });
  const answer = await person.insist(BUY, 'order', 'POST', '/v1/orders', body, { 'Idempotency-Key': `b-${SEED}-${person.number}` });
  if (!answer || answer.status !== 201) return refusal(answer);
  const order = json(answer);
  if (order.state === 'paid') return null;
  await person.think();
  const charge = order.pay_url.split('/').pop(), bank = { 'Content-Type': 'application/json', Authorization: `Bearer ${BANK}` };
  while ((await send('POST', `${SANDBOX}/charges/${charge}/pay`, '{}', bank)).status !== 200) {
    if (over()) return 'not paid';
    await sleep(1);
  }
  const began = Date.now();
  tell('paid', began, order.id);
  while (!over()) {
    const seen = await person.insist(FINISH, 'order state', 'GET', `/v1/orders/${order.id}`);
    if (!seen || seen.status !== 200) return refusal(seen);
    if (json(seen).state === 'paid') {
      tell('quota', Date.now(), order.id, Date.now() - began);
      return null;
    }
    await sleep(0.5 + Math.random());
  }
  return 'gone';
}

async function stamped(person) {
  const file = new Uint8Array(letter.slice(0)), text = `${person.number.toString(16)}.${SEED}`.slice(0, 16);
  for (let i = 0; i < 16; i++) file[mark + i] = text.charCodeAt(i);
  const document = await uploaded(person, file.buffer);
  if (!document.id) return refusal(document.refused);
  await person.think();
  const asked = Date.now(), once = { Prefer: 'wait=10', 'Idempotency-Key': `s-${SEED}-${person.number}` };
  let answer = await person.insist(FINISH, 'stamp', 'POST', '/v1/stamps', JSON.stringify({ document_id: document.id }), once);
  // 202 while it is still being sealed, 200 where the first answer was lost: its person goes on all the same.
  if (!answer || ![200, 201, 202].includes(answer.status)) return refusal(answer);
  let stamp = json(answer);
  tell('held', Date.now(), stamp.id, person.number);
  while (stamp.state === 'held' && !over()) {
    answer = await person.insist(FINISH, 'follow', 'GET', `/v1/stamps/${stamp.id}`, null, { Prefer: 'wait=10' });
    if (!answer || answer.status !== 200) return refusal(answer);
    stamp = json(answer);
  }
  tell('stamp', Date.now(), Date.now() - asked, stamp.id, stamp.state, stamp.serial, stamp.sealed_sha256, person.number);
  if (stamp.state === 'held') return 'gone';
  if (stamp.state !== 'sealed') return `given back: ${stamp.reason}`;
  await person.think();
  await person.ask(BROWSE, 'history', 'GET', '/v1/quota/history');
  const got = await person.insist(FINISH, 'download', 'GET', `/v1/stamps/${stamp.id}/file`, null, {}, { kind: 'none' });
  return got && got.status === 200 ? null : refusal(got);
}

// ---- who is in the crowd

async function person(number) {
  const who = new Person(number);
  await who.ask(BROWSE, 'front page', 'GET', '/', null, { Accept: 'text/html' }, { kind: 'none' });
  tell('came', Date.now());
  const now = await look(1);
  if (now && now.pass_needed) await joinLine(who);
  else if (now) await inside(who);
}

async function inside(who) {
  if ((await finish(who)) === 'pass_needed') await joinLine(who);
}

export async function neighbourhood() {
  const place = exec.scenario.iterationInTest, telling = setInterval(flush, 2000 + 1000 * Math.random());
  let mine = 0;
  const next = () => FIRST + VUS * mine++ + place;
  comesFrom(`100.${64 + (place >> 8)}.${place & 255}.1`); // of those that gateways of mobile carriers have (RFC 6598)
  await dayBegins();
  if (CLOSED) {
    const busy = [];
    for (let i = 0; i < CLOSED; i++) busy.push((async () => {
      while (Date.now() < END) await finish(new Person(next()));
    })());
    await Promise.all(busy);
  } else {
    await Promise.all([
      happening((phase) => phase.people_per_s, VUS, () => person(next())),
      waitTogether(),
    ]);
    await allGone();
  }
  clearInterval(telling);
  await flush();
}

// ---- programs: scripts; the partner is a process of its own, lastday_partner.py

export async function scripts() {
  await hammer();
}
