/**
 * What a server is, asked over a wire: `server/discover` (modern) or `initialize` (legacy), and from a modern question
 * the evidence which era it is (PROTOCOL.md P2, C5). Only what a server says in its own words counts as evidence.
 * Not done here: remembering the verdict (`era.ts`).
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { META } from '../protocol/meta.ts';
import { LATEST_LEGACY, MODERN, isLegacyVersion } from '../protocol/versions.ts';
import { type UpstreamIdentity, type UpstreamReply, UpstreamFault } from './connection.ts';
import { CLIENT_INFO, paramsFor } from './messages.ts';
import type { Wire } from './wire.ts';

/** Codes only a modern server knows: header mismatch, missing capability, unsupported version. */
const MODERN_CODES: ReadonlySet<number> = new Set([-32020, -32021, -32022]);

const violation = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_protocol', message, { dispatched: 'unknown' });

/** Raw: what the server answered to `server/discover`. */
export const askDiscover = (wire: Wire, signal: AbortSignal, timeoutMs: number): Promise<UpstreamReply> =>
  wire.exchange({ method: 'server/discover', params: paramsFor('modern', {}) }, signal, timeoutMs);

/** Whether this answer comes from a modern server: a discovery, or an error that only the modern era has. */
export function isModernAnswer(reply: UpstreamReply): boolean {
  return reply.kind === 'result'
    ? Array.isArray(reply.result['supportedVersions'])
    : MODERN_CODES.has(reply.error.code);
}

/** Agrees on the modern era. @throws UpstreamFault `upstream_protocol` when the server has no revision of ours. */
export function agreeModern(wire: Wire, reply: UpstreamReply): UpstreamIdentity {
  if (reply.kind === 'error') throw violation(`server/discover was answered with error ${reply.error.code}`);
  const { supportedVersions, capabilities, instructions, _meta } = reply.result;
  if (!Array.isArray(supportedVersions) || !supportedVersions.includes(MODERN)) {
    throw violation(`the server does not support protocol ${MODERN}`);
  }
  if (!isJsonObject(capabilities)) throw violation('the discovery has no object `capabilities`');
  const serverInfo = isJsonObject(_meta) ? _meta[META.serverInfo] : undefined;
  wire.agree('modern', MODERN);
  return identityOf('modern', MODERN, capabilities, serverInfo, instructions);
}

/** Agrees on the legacy era, telling it what we can do: `initialize`, then `notifications/initialized`. @throws UpstreamFault */
export async function agreeLegacy(
  wire: Wire,
  capabilities: JsonObject,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<UpstreamIdentity> {
  const reply = await wire.exchange(
    { method: 'initialize', params: { protocolVersion: LATEST_LEGACY, capabilities, clientInfo: CLIENT_INFO } },
    signal,
    timeoutMs,
  );
  if (reply.kind === 'error') throw violation(`initialize was answered with error ${reply.error.code}`);
  const { protocolVersion, capabilities: theirs, serverInfo, instructions } = reply.result;
  if (typeof protocolVersion !== 'string' || !isLegacyVersion(protocolVersion)) {
    throw violation('the server chose a protocol version that Remit does not speak');
  }
  if (!isJsonObject(theirs)) throw violation('the result of initialize has no object `capabilities`');
  wire.agree('legacy', protocolVersion);
  await wire.notify('notifications/initialized', {});
  return identityOf('legacy', protocolVersion, theirs, serverInfo, instructions);
}

function identityOf(
  era: UpstreamIdentity['era'],
  protocolVersion: string,
  capabilities: JsonObject,
  serverInfo: unknown,
  instructions: unknown,
): UpstreamIdentity {
  return {
    era,
    protocolVersion,
    capabilities,
    serverInfo: isJsonObject(serverInfo) ? serverInfo : {},
    instructions: typeof instructions === 'string' ? instructions : null,
  };
}
