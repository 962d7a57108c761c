/**
 * The arguments fit the pinned schema, no key imitates a declared one (PH-02: a server that folds case would read it as that one),
 * and mirrored headers say what the body says (CI-01, PROTOCOL.md M6). A legacy client sends no such headers; if it does, they may not lie.
 */
import { digestOf } from '../../lib/canonical-json.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { JsonObject } from '../../lib/json.ts';
import { argumentLookalike } from '../../protocol/key-fold.ts';
import { checkParamHeaders } from '../../protocol/param-headers.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';

const NONE: JsonObject = Object.freeze({});

export const argumentsFit = guard<null>({
  name: 'arguments-fit',
  gather: () => null,
  decide(call) {
    const tool = known(call, 'tool');
    const { message } = call;
    const given = message.params['arguments'] ?? NONE;
    if (!isJsonObject(given)) return deny({ reason: 'arguments_invalid', problems: ['arguments: must be an object'] });
    const schema = (tool.approved?.definition['inputSchema'] ?? NONE) as JsonObject;
    const lookalike = argumentLookalike(given, schema);
    if (lookalike !== null) {
      return deny({
        reason: 'arguments_invalid',
        problems: [`${lookalike} looks like a parameter of the tool and is not`],
      });
    }
    if (message.kind === 'request') {
      const presence = message.era === 'modern' ? 'required' : 'optional';
      const mismatch = checkParamHeaders(call.headers, given, schema, message.id, presence);
      if (mismatch) return deny({ reason: 'header_mismatch', error: mismatch });
    }
    const fit = tool.check!.check(given);
    if (!fit.ok) {
      const problems = fit.error.map(({ field, message: text }) => `${field || 'arguments'} ${text}`);
      return deny({ reason: 'arguments_invalid', problems });
    }
    return learn({ arguments: given, argumentsDigest: digestOf(given) });
  },
});
