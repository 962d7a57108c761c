/** What the tool's reviewers allow of it is not spent (RL-02). Last of all, so that a call which goes nowhere takes nothing. */
import { wantsOf } from '../budgets.ts';
import type { Ticket } from '../budgets.ts';
import { PASS, deny, guard, learn } from '../guard.ts';
import type { Short } from '../limits.ts';

type Asked = string | null | { readonly ticket: Ticket; readonly short: Short | null; readonly now: number };

export const withinBudget = guard<Asked>({
  name: 'within-budget',
  gather(call, { limits, clock }) {
    const wants = wantsOf(call);
    if (wants === null || typeof wants === 'string') return wants;
    return limits.counters.take(wants.quotas, wants.keys, wants.amounts).then((short) => ({
      ticket: { ...wants, takenAt: performance.now(), settled: false },
      short,
      now: clock.now(),
    }));
  },
  decide(_call, asked) {
    if (asked === null) return PASS;
    if (typeof asked === 'string') return deny({ reason: 'arguments_invalid', problems: [asked] });
    const { ticket, short, now } = asked;
    if (short === null) return learn({ budget: ticket });
    const on = ticket.quotas[short.at]!.on === 'budget' ? 'calls' : 'sum';
    return deny({ reason: 'budget_spent', on, again: now + Math.ceil(short.againMs) });
  },
});
