/**
 * What a reviewer allows one person with one agent, or everybody together, to do with a tool (RL-02): so many calls, and so much of a number in
 * the arguments, in a time that begins with the first of them. Taken when a call has passed every other guard, also by one that people
 * agreed to and by each leg that a client brings back to a server; given back only if nothing was sent. Held calls take it when they run.
 * CRASH: forgotten with the node. Of several nodes each counts for itself, until the counters are a shared store's.
 */
import type { Approved } from '../integrity/records.ts';
import type { JsonObject } from '../lib/json.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { GuardPorts } from './guard.ts';
import { agentOf } from './limits-who.ts';
import type { Quota } from './limits.ts';

export interface Wants {
  readonly quotas: readonly Quota[];
  readonly keys: readonly string[];
  readonly amounts: readonly number[];
}

/** What a call has taken of a budget. */
export interface Ticket extends Wants {
  /** When it was taken, of `performance.now`. */
  readonly takenAt: number;
  /** It was given back, or it stays taken. */
  settled: boolean;
}

/** Sums are counted in whole millionths, so that three times 0.1 is 0.3. */
const UNIT = 1_000_000;
const MINUTE_MS = 60_000;

/** Null: there is no budget. A text: why what is asked cannot be counted, which is then not done. */
export function wantsOf(call: Call): Wants | string | null {
  const tool = known(call, 'tool');
  const { resumed } = call.facts;
  const budget = tool.approved?.budget;
  // What is answered to a question of a call that goes on was counted with that call.
  if (!budget || (resumed !== undefined && resumed.park !== null)) return null;
  const whose = budget.shared ? '' : `${known(call, 'person').id} ${agentOf(call)}`;
  const key = `${tool.id} ${whose}`;
  const windowMs = budget.perMinutes * MINUTE_MS;
  const calls: Quota = { on: 'budget', max: budget.calls, windowMs };
  if (!budget.sum) return { quotas: [calls], keys: [key], amounts: [1] };
  const amount = amountAt(known(call, 'arguments'), budget.sum);
  if (amount === null) return `${budget.sum.argument} must be a number from 0 on, as the tool has a budget of it`;
  const sum: Quota = { on: 'budget_sum', max: Math.floor(budget.sum.max * UNIT), windowMs };
  return { quotas: [calls, sum], keys: [key, key], amounts: [1, amount] };
}

type Sum = NonNullable<NonNullable<Approved['budget']>['sum']>;

/** ATTACKER-CONTROLLED: a negative amount, or none, would make room. An amount as canonical text (AZ-03) counts as the number it is. */
function amountAt(given: JsonObject, { argument }: Sum): number | null {
  let value: unknown = given;
  for (const part of argument.slice(1).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return null;
    value = (value as JsonObject)[name];
  }
  const number = typeof value === 'string' && /^\d{1,15}(?:\.\d{1,15})?$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !(number >= 0)) return null;
  const units = Math.ceil(Number((number * UNIT).toPrecision(15)));
  return Number.isSafeInteger(units) ? units : null;
}

/** Nothing of this call was sent. */
export function giveBack({ facts: { budget } }: Call, { limits }: Pick<GuardPorts, 'limits'>): void {
  if (!budget || budget.settled) return;
  budget.settled = true;
  const { quotas, keys, amounts, takenAt } = budget;
  // What cannot be given back is lost for whoever had it: never the other way.
  limits.counters.giveBack(quotas, keys, amounts, performance.now() - takenAt).catch(() => undefined);
}

/** Something of it was sent, or may have been. */
export function keepSpent({ facts: { budget } }: Call): void {
  if (budget) budget.settled = true;
}
