/** The arguments fit the pinned schema, and mirrored headers say what the body says (CI-01, PROTOCOL.md M6). */
import { digestOf } from '../../lib/canonical-json.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { JsonObject } from '../../lib/json.ts';
import { checkParamHeaders } from '../../protocol/param-headers.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';

const NONE: JsonObject = Object.freeze({});

export const argumentsFit = guard<null>({
  name: 'arguments-fit',
  gather: () => null,
  decide(call) {
    const tool = known(call, 'tool');
    const given = call.message.params['arguments'] ?? NONE;
    if (!isJsonObject(given)) return deny({ reason: 'arguments_invalid', problems: ['arguments: must be an object'] });
    if (call.message.era === 'modern' && call.message.kind === 'request') {
      const schema = (tool.approved?.definition['inputSchema'] ?? NONE) as JsonObject;
      const mismatch = checkParamHeaders(call.headers, given, schema, call.message.id);
      if (mismatch) return deny({ reason: 'header_mismatch', error: mismatch });
    }
    const fit = tool.check!.check(given);
    if (!fit.ok)
      return deny({
        reason: 'arguments_invalid',
        problems: fit.error.map(({ field, message }) => `${field || 'arguments'} ${message}`),
      });
    return learn({ arguments: given, argumentsDigest: digestOf(given) });
  },
});
