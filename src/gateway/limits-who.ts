/** Who a call is counted for: identities that guards verified, and nothing a client may choose (RL-01). */
import { known } from './call.ts';
import type { Call } from './call.ts';

/** Its record, or the client of its token where nothing is known of it. */
export const agentOf = (call: Call): string => call.facts.agent?.id ?? known(call, 'caller').clientId;
