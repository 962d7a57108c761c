/** Whom an answer is for: the era and revision this client speaks. */
import { MODERN, isLegacyVersion } from '../protocol/versions.ts';
import type { ProtocolVersion } from '../protocol/versions.ts';
import type { Facing } from '../protocol/results.ts';
import type { Call } from './call.ts';

export function facingOf(call: Call, deps: { readonly version: string }): Facing {
  const { message } = call;
  let version: ProtocolVersion = MODERN;
  if (message.era === 'legacy') {
    const claimed = call.facts.session?.version ?? message.protocolVersion ?? '2025-03-26';
    version = isLegacyVersion(claimed) ? claimed : '2025-03-26';
  }
  return { era: message.era, version, serverInfo: { name: 'remit-gateway', version: deps.version } };
}
