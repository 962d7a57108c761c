/**
 * Why a call waits, in words for whoever decides: the policies that stand in its way, what its trace has received of what they ask for, and
 * whose text it holds. Written when it is held; no text that was received or sent is in it.
 */
import { readBy } from '../policy/decide.ts';
import { BIT, COPIED, FROM, LABELS } from '../policy/labels.ts';
import type { Label } from '../policy/labels.ts';
import type { Call } from './call.ts';

const RECEIVED: Readonly<Record<Label, string>> = {
  untrusted: 'what strangers may have written',
  private: 'private data',
  confidential: 'confidential data',
  regulated: 'regulated data',
  secret: 'a secret',
};
/** An approver reads a few; the log has all. */
const MAX_NAMED = 10;

export function heldBecause({ facts: { decision, flow }, snapshot: { policies } }: Call): string[] {
  const rules = decision?.verdict === 'hold' ? decision.rules : [];
  const deciding = policies?.policies.filter(({ id }) => rules.includes(id)) ?? [];
  const read = policies ? readBy({ ...policies, policies: deciding }) : 0;
  const received = flow ? LABELS.filter((label) => flow[label] && (read & BIT[label]) !== 0) : [];
  const said = deciding.map(({ id, json }) => {
    const description = json.annotations?.['description'];
    return typeof description === 'string' ? `${id}: ${description}` : `${id} demands it.`;
  });
  const joined = flow?.joined ?? null;
  const words = (labels: readonly Label[]): string => labels.map((one) => RECEIVED[one]).join(', ');
  const own = received.filter((label) => joined?.labels[label] !== true);
  const others = received.filter((label) => joined?.labels[label] === true);
  if (own.length > 0) said.push(`Before this call the agent received ${words(own)}.`);
  if (others.length > 0) said.push(`Before this call another agent in the same trace received ${words(others)}.`);
  if (flow?.copied && (read & COPIED) !== 0)
    said.push(
      flow.copiedFrom.length > 0
        ? `The arguments hold text that came from ${listed(flow.copiedFrom)}.`
        : `The agent${joined ? ', or another one in the same trace,' : ''} received data above the threshold whose text cannot be compared here: it counts as a copy.`,
    );
  if (flow && (read & FROM) !== 0) {
    const mine = flow.receivedFrom.filter((server) => joined?.from.includes(server) !== true);
    if (mine.length > 0) said.push(`Before this call the agent received something from ${listed(mine)}.`);
    if (joined && joined.from.length > 0)
      said.push(`Before this call another agent in the same trace received something from ${listed(joined.from)}.`);
  }
  return said.slice(0, 2 * MAX_NAMED).map((one) => one.slice(0, 1_000));
}

const listed = (names: readonly string[]): string =>
  names.length <= MAX_NAMED
    ? names.join(', ')
    : `${names.slice(0, MAX_NAMED).join(', ')} and ${names.length - MAX_NAMED} more`;
