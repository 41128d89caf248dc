// The scripts of `emeterai bench lastday`: programs that know one endpoint each and nothing else. Each has one address,
// no pass and no account; it asks and asks at its rate, and never waits because it was told to.
import exec from 'k6/execution';
import { allGone, dayBegins, happening } from './lastday_arrivals.js';
import { bump, comesFrom, flush, send } from './lastday_voice.js';

const BASE = __ENV.BASE, ROOM = __ENV.ROOM, KNOWN = 5000;
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_', DIGITS = '0123456789abcdef';
const JSON_TYPE = { 'Content-Type': 'application/json' }, INVENTED = `ems_${'x'.repeat(43)}`;

const drawn = (length, of) => Array.from({ length }, () => of[Math.floor(of.length * Math.random())]).join('');
const uuid = () => [8, 4, 4, 4, 12].map((length) => drawn(length, DIGITS)).join('-');
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// Endpoints by the names that they have in the report; the passwords are guessed of people who exist.
const SCRIPTS = [
  ['orders', () => ['POST', `${BASE}/v1/orders`, '{"quantity":1}', { ...JSON_TYPE, ...bearer(INVENTED) }]],
  ['sessions', () => ['POST', `${BASE}/v1/sessions`, guess(), JSON_TYPE]],
  ['stamps', () => ['GET', `${BASE}/v1/stamps/${uuid()}`, null, bearer(`ems_${drawn(43, LETTERS)}`)]],
  ['giliran', () => ['GET', `${ROOM}/gate/retail/giliran`, null, { Accept: 'text/html' }]],
];
const guess = () => JSON.stringify({ contact: `warga-${Math.floor(KNOWN * Math.random())}@contoh.id`, password: `salah-${drawn(12, LETTERS)}` });
export const SCRIPTS_COUNT = SCRIPTS.length;

export async function hammer() {
  const place = exec.scenario.iterationInTest % SCRIPTS_COUNT, [name, request] = SCRIPTS[place];
  comesFrom(`203.0.${113 + place}.7`);
  const telling = setInterval(flush, 2000 + 1000 * Math.random());
  await dayBegins();
  await happening((phase) => phase.scripts_per_s, SCRIPTS_COUNT, async () => {
    const answer = await send(...request(), { seconds: 5, kind: 'none' });
    bump(`script-${name}`, answer.status);
  });
  await allGone();
  clearInterval(telling);
  await flush();
}
