// When things happen in the crowd of `emeterai bench lastday`: at the plan's rates, whether or not anybody is served.
import { sleep, tell } from './lastday_voice.js';

const PLAN = JSON.parse(__ENV.PLAN); // [{people_per_s, scripts_per_s, until_s}, ...], seconds after START
const HOME_S = Number(__ENV.HOME_S || 15);
export const START = Number(__ENV.START), END = START + PLAN[PLAN.length - 1].until_s * 1000;
export const HAS_SCRIPTS = PLAN.some((phase) => phase.scripts_per_s > 0);

// Whoever is inside when the day ends may finish for a while.
export const over = () => Date.now() > END + HOME_S * 1000;
export const dayBegins = async () => {
  if (START > Date.now()) await sleep((START - Date.now()) / 1000);
};

let alive = 0;
export async function live(act) {
  alive++;
  await act();
  alive--;
}
export const allGone = async () => {
  while (alive && Date.now() < END + (HOME_S + 15) * 1000) await sleep(0.5);
};

// One of `parts` that share the rate of each phase between them.
export async function happening(perSecond, parts, act) {
  let at = START, mine = 0;
  for (;;) {
    const now = PLAN.find((phase) => at < START + phase.until_s * 1000);
    if (!now) return;
    const rate = perSecond(now) / parts, end = START + now.until_s * 1000;
    at += rate > 0 ? (-Math.log(1 - Math.random()) / rate) * 1000 : Infinity;
    if (at >= end) {
      at = end; // what was drawn at one phase's rate says nothing of the next
      continue;
    }
    const wait = at - Date.now();
    if (wait > 0) await sleep(wait / 1000);
    if (mine++ % 8 === 0) tell('late', Date.now(), Date.now() - at);
    live(act);
  }
}
