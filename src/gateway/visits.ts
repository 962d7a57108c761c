/**
 * A server of 2025-11-25 that wants its caller to visit a URL first ends the request with -32042 (EL25). A modern client is asked the same
 * by `input_required` and makes the request again; a 2025-11-25 client gets the error it knows; everybody else is told in words.
 * The request was refused by the server, so making it again repeats nothing.
 */
import { RESULT_LIMITS, inspectMembers } from '../content/inspect.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { LEGACY_CODES } from '../protocol/errors.ts';
import type { Ask } from '../upstream/connection.ts';
import { askToShow, askingOf } from './asking.ts';
import type { Asking } from './asking.ts';
import type { Call } from './call.ts';
import { known } from './call.ts';
import { mayVisit, visitsOfServer } from './inspection-asks.ts';
import { note, noted, termsFor } from './inspection.ts';
import type { InspectionPort } from './inspection.ts';

/** URLs one error may name. */
const MAX_VISITS = 10;

/** The visits a server wants, as this client may be shown them; null: it wants none, or one that cannot be shown. */
export function visitsOf(
  call: Call,
  error: { readonly code: number; readonly data?: unknown },
  deps: Parameters<typeof askingOf>[1],
): ReadonlyMap<string, Ask> | null {
  return error.code === LEGACY_CODES.urlElicitationRequired ? shownVisits(error.data, askingOf(call, deps)) : null;
}

/** ATTACKER-CONTROLLED: the list, its texts, its URLs. */
function shownVisits(data: unknown, terms: Asking): ReadonlyMap<string, Ask> | null {
  const listed = isJsonObject(data) ? data['elicitations'] : null;
  if (!Array.isArray(listed) || listed.length === 0 || listed.length > MAX_VISITS) return null;
  const asks = new Map<string, Ask>();
  for (const [i, one] of (listed as readonly Json[]).entries()) {
    const params: JsonObject = isJsonObject(one) ? { ...one, mode: 'url' } : {};
    const shown = askToShow({ method: 'elicitation/create', params }, terms);
    if (shown === null) return null;
    asks.set(`visit-${i + 1}`, shown);
  }
  return asks;
}

/** The same for somebody who can only be told: nothing but addresses that they may be sent to. */
export function visitsInWords(
  call: Call,
  error: { readonly code: number; readonly data?: unknown },
  inspection: InspectionPort,
): string | null {
  if (error.code !== LEGACY_CODES.urlElicitationRequired || !isJsonObject(error.data)) return null;
  const { elicitations } = error.data;
  if (!Array.isArray(elicitations) || elicitations.length > MAX_VISITS) return null;
  const hosts = visitsOfServer(known(call, 'server').record);
  const urls = (elicitations as readonly Json[]).flatMap((one) => {
    const url = isJsonObject(one) ? one['url'] : undefined;
    if (mayVisit(url, hosts) && isClean(call, url, inspection)) return [url];
    note(call, 'question:refused:visit');
    return [];
  });
  return urls.length === 0 ? null : `The server wants you to visit ${urls.join(' and ')} first, and then to try again.`;
}

/** ATTACKER-CONTROLLED: what stands behind a host that people may be sent to. An address without what was found in it is another one. */
function isClean(call: Call, url: string, inspection: InspectionPort): boolean {
  const looked = inspectMembers({ url }, RESULT_LIMITS, termsFor(call, 'in', inspection));
  noted(call, 'in', 'question', looked, inspection);
  return looked.verdict !== 'withhold' && looked.result['url'] === url;
}
