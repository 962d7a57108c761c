/**
 * The arguments fit what was approved, no key imitates a declared one (PH-02: a server that folds case would read it as that one),
 * and mirrored headers say what the body says (CI-01, PROTOCOL.md M6). A legacy client sends no such headers; if it does, they may not lie.
 * Typed parameters are replaced by their canonical form here: policy, digest, approval and server see nothing else (AZ-03).
 * What an item is given: a tool and a prompt their `arguments`, a resource its URI and the template's variables, a completion what it completes.
 */
import { digestOf } from '../../lib/canonical-json.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { JsonObject } from '../../lib/json.ts';
import { canonicalArguments } from '../../lib/typed-arguments.ts';
import { argumentLookalike } from '../../protocol/key-fold.ts';
import { checkParamHeaders } from '../../protocol/param-headers.ts';
import { known } from '../call.ts';
import type { Call } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import type { Verdict } from '../guard.ts';
import { resolveUri } from '../snapshot.ts';

const NONE: JsonObject = Object.freeze({});
const unfit = (...problems: string[]): Verdict => deny({ reason: 'arguments_invalid', problems });

export const argumentsFit = guard<null>({
  name: 'arguments-fit',
  gather: () => null,
  decide(call) {
    switch (call.message.rule?.family) {
      case 'read':
      case 'subscribe': {
        const uri = call.subject.name ?? '';
        const given = { ...resolveUri(known(call, 'server'), uri)?.variables, uri };
        const { typed } = known(call, 'tool');
        if (typed) {
          const canonical = canonicalArguments(given, typed);
          if (!canonical.ok) return unfit(...canonical.error);
          // The server reads the URI and no variables: it cannot be given another spelling, so this one must be it.
          if (canonical.value.arguments !== given) return unfit('uri is not written in its canonical form');
        }
        return learn({ arguments: given, argumentsDigest: digestOf({ uri }) });
      }
      case 'complete':
        return completion(call);
      default:
        return declared(call);
    }
  },
});

function declared(call: Call): Verdict {
  const tool = known(call, 'tool');
  const { message } = call;
  const given = message.params['arguments'] ?? NONE;
  if (!isJsonObject(given)) return unfit('arguments: must be an object');
  if (tool.kind === 'tool') {
    const schema = (tool.approved?.definition['inputSchema'] ?? NONE) as JsonObject;
    const lookalike = argumentLookalike(given, schema);
    if (lookalike !== null) return unfit(`${lookalike} looks like a parameter of the tool and is not`);
    if (message.kind === 'request') {
      const presence = message.era === 'modern' ? 'required' : 'optional';
      const mismatch = checkParamHeaders(call.headers, given, schema, message.id, presence);
      if (mismatch) return deny({ reason: 'header_mismatch', error: mismatch });
    }
  }
  const fit = tool.check!.check(given);
  if (!fit.ok) return misfit(fit.error);
  if (!tool.typed) return learn({ arguments: given, argumentsDigest: digestOf(given) });
  const canonical = canonicalArguments(given, tool.typed);
  if (!canonical.ok) return unfit(...canonical.error);
  const { arguments: plain } = canonical.value;
  // Another spelling must fit the schema as well: what is forwarded is what was checked.
  const fits = plain === given ? fit : tool.check!.check(plain);
  return fits.ok ? learn({ arguments: plain, argumentsDigest: digestOf(plain) }) : misfit(fits.error);
}

const misfit = (problems: ReadonlyArray<{ readonly field: string; readonly message: string }>): Verdict =>
  unfit(...problems.map(({ field, message }) => `${field || 'arguments'} ${message}`));

/** `completion/complete` names one argument of the prompt or template and what was typed so far. */
function completion(call: Call): Verdict {
  const { argument, context = NONE } = call.message.params;
  if (!isJsonObject(argument) || typeof argument['name'] !== 'string' || typeof argument['value'] !== 'string')
    return unfit('argument: must have a name and a value, both strings');
  const others = isJsonObject(context) ? (context['arguments'] ?? NONE) : NONE;
  if (!isJsonObject(others) || Object.values(others).some((value) => typeof value !== 'string'))
    return unfit('context.arguments: must be an object of strings');
  const given = { argument: { name: argument['name'], value: argument['value'] }, context: others };
  return learn({
    arguments: { argument: argument['name'], value: argument['value'] },
    argumentsDigest: digestOf(given),
  });
}
