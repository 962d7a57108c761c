/**
 * The one place that decides what a refused caller sees: HTTP status, WWW-Authenticate, JSON-RPC error or `isError` result.
 * Exhaustive over Denial: a new reason without a decision here does not compile. Texts say what, why, what to do next and a reference id,
 * and never a policy, a person, an upstream or a stack (PH-10). A tool the caller may not see reads exactly like one that does not exist (AZ-01).
 */
import { challenge401, challenge403, challengeStepUp } from '../identity/protected-resource.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import {
  invalidParams,
  missingCapability,
  resourceNotFound,
  sessionNotFound,
  sessionRequired,
} from '../protocol/errors.ts';
import type { RequestId, WireError } from '../protocol/errors.ts';
import type { MethodFamily } from '../protocol/methods.ts';
import { toolError } from '../protocol/results.ts';
import type { Facing } from '../protocol/results.ts';
import type { Denial } from './denial.ts';

export type Reply =
  | {
      readonly kind: 'result';
      readonly id: RequestId;
      readonly result: JsonObject;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'error'; readonly error: WireError; readonly headers?: Readonly<Record<string, string>> }
  /** 202 without a body. */
  | { readonly kind: 'accepted' };

/** The reply as a JSON-RPC message, for a stream or a batch: there the HTTP status is past. */
export function asMessage(reply: Reply): JsonObject {
  if (reply.kind === 'accepted') return {};
  if (reply.kind === 'result') return { jsonrpc: '2.0', id: reply.id, result: reply.result };
  const { id, code, message, data } = reply.error;
  return {
    jsonrpc: '2.0',
    ...(id !== null && { id }),
    error: { code, message, ...(data !== undefined && { data }) },
  };
}

/** JSON-RPC codes of our own, outside the reserved range as the specification asks (M23). */
export const REMIT_CODES = { refused: 4030, unavailable: 5030, tooMany: 4290, unauthenticated: 4010 } as const;

export interface RefusalFacts {
  /** Null for notifications and unreadable messages. */
  readonly id: RequestId | null;
  readonly facing: Facing;
  /** Refusals of tools/call can be results that a model reads. */
  readonly family: MethodFamily | null;
  /** The resource that was asked for, as the caller named it; null when the method has none. */
  readonly uri: string | null;
  readonly ref: string;
  readonly metadataUrl: string;
  /** Scopes to name in a 401: what a first token for this server should carry. */
  readonly defaultScopes: readonly string[];
  /** The message came to the aggregate, where a server is part of a name. */
  readonly aggregate: boolean;
  /** What a proof of possession may be signed with, where the challenge asks for one; null: a bearer token will do. */
  readonly proofAlgorithms: readonly string[] | null;
  /** The client sent a session id (legacy). */
  readonly sessionSent: boolean;
}

export function toReply(denial: Denial, facts: RefusalFacts): Reply {
  const { id, ref, metadataUrl, proofAlgorithms } = facts;
  const error = (httpStatus: number, code: number, message: string, headers?: Record<string, string>): Reply => ({
    kind: 'error',
    error: { httpStatus, id, code, message: `${message} Reference: ${ref}`, data: { reference: ref } },
    ...(headers && { headers }),
  });
  const unauthenticated = (presented: boolean, message: string, proof?: { readonly nonce?: string }): Reply => {
    const why = proof && {
      problem: 'proof' as const,
      error: proof.nonce === undefined ? ('invalid_dpop_proof' as const) : ('use_dpop_nonce' as const),
    };
    const scope = facts.defaultScopes.join(' ');
    return error(401, REMIT_CODES.unauthenticated, message, {
      'WWW-Authenticate': challenge401({ metadataUrl, scope, presented, proofAlgorithms, ...why }),
      ...(proof?.nonce !== undefined && { 'DPoP-Nonce': proof.nonce }),
    });
  };
  /** A refusal the model may read, where the method has results for that. */
  const refused = (message: string): Reply =>
    facts.family === 'call' && id !== null
      ? {
          kind: 'result',
          id,
          result: toolError(facts.facing, `${message} Reference: ${ref}`, { 'remit/reference': ref }),
        }
      : error(403, REMIT_CODES.refused, message);
  const unknownTool = (): Reply =>
    withReference(
      facts.family === 'read' || facts.family === 'subscribe'
        ? { ...resourceNotFound(id, facts.facing.era), ...(facts.uri !== null && { data: { uri: facts.uri } }) }
        : invalidParams(
            id,
            facts.facing.era,
            facts.family === 'prompt' || facts.family === 'complete' ? 'Unknown prompt or resource.' : 'Unknown tool.',
          ),
      ref,
    );

  switch (denial.reason) {
    case 'token_missing':
      return unauthenticated(false, 'Sign in first: this server needs an access token.');
    case 'token_malformed':
    case 'token_invalid':
      if (denial.reason === 'token_invalid' && denial.problem.startsWith('proof:'))
        return unauthenticated(
          true,
          'The proof of possession is not valid for this request. Make a new one for every request.',
          { ...(denial.nonce !== undefined && { nonce: denial.nonce }) },
        );
      return unauthenticated(true, 'The access token is not valid here. Get a new one from the authorization server.');
    case 'token_in_url':
      return unauthenticated(
        true,
        'Access tokens are accepted only in the Authorization header. Treat this one as leaked.',
      );
    case 'keys_unavailable':
      return error(503, REMIT_CODES.unavailable, 'The token cannot be checked right now. Try again shortly.', {
        'Retry-After': '5',
      });

    case 'message_refused':
    case 'method_unknown':
    case 'state_invalid':
    case 'header_mismatch':
      return withReference(denial.error, ref);

    case 'snapshot_stale':
    case 'snapshot_unsound':
      return error(
        503,
        REMIT_CODES.unavailable,
        'This gateway cannot confirm that its rules are current, so it refuses. Try again shortly.',
        {
          'Retry-After': '2',
        },
      );
    case 'token_void':
      return unauthenticated(true, 'The access token was revoked. Sign in again.');
    case 'agent_unknown':
    case 'agent_not_active':
    case 'agent_without_owner':
      return error(
        403,
        REMIT_CODES.refused,
        'This client may not be used here yet. Ask your administrator to review it, quoting the reference.',
      );
    case 'source_silent':
      return error(
        503,
        REMIT_CODES.unavailable,
        'The directory that keeps your account has not been heard of for too long. Ask your administrator, quoting the reference.',
      );
    case 'break_glass':
      return error(
        403,
        REMIT_CODES.refused,
        'This account is for emergencies and administers only. Use your own account to call tools.',
      );
    case 'person_unknown':
    case 'person_inactive':
    case 'person_without_role':
    case 'tenant_unknown':
      return error(
        403,
        REMIT_CODES.refused,
        'Your account has no access here. Ask your administrator, quoting the reference.',
      );
    case 'locked':
      // As in its lists: whether such a server exists is nobody's to try out.
      if (denial.on === 'server' && facts.aggregate) return unknownTool();
      if (denial.on === 'token') return unauthenticated(true, 'The access token was revoked. Sign in again.');
      if (denial.on === 'tool')
        return refused('This tool is locked by an administrator. Ask them, quoting the reference; do not retry.');
      return error(
        403,
        REMIT_CODES.refused,
        'Access is locked by an administrator. Ask them, quoting the reference; do not retry.',
      );
    case 'server_unknown':
      return error(404, REMIT_CODES.refused, 'There is no such server here. Check the URL.');
    case 'server_not_enabled':
    case 'server_switched_off':
      if (facts.aggregate) return unknownTool();
      return error(403, REMIT_CODES.refused, 'This server is not in service. Ask its owner, quoting the reference.');
    case 'proof_required':
      return unauthenticated(true, 'This server takes only access tokens that are bound to a key. Get one with DPoP.');
    case 'session_unknown':
      return withReference(facts.sessionSent ? sessionNotFound(id) : sessionRequired(id), ref);
    case 'session_of_another':
      return withReference(sessionNotFound(id), ref);

    case 'capability_missing':
      return withReference(missingCapability(id, denial.required), ref);
    case 'task_unknown':
      return withReference(invalidParams(id, facts.facing.era, 'Unknown task.'), ref);

    case 'tool_unknown':
    case 'tool_unreviewed':
    case 'tool_switched_off':
    case 'tool_changed':
    case 'tool_gone':
    case 'schema_unusable':
      return unknownTool();
    case 'account_not_linked':
      return refused(
        `You have linked no account of yours at this server, so nothing was sent. Link it with \`remit server link ${denial.server}\`, then try again.`,
      );
    case 'tool_unconfirmed':
      return facts.family === 'call'
        ? refused('The server cannot be reached, so nothing was sent. Try again later.')
        : error(
            503,
            REMIT_CODES.unavailable,
            'The server cannot be reached, so its tools are not known. Try again later.',
            {
              'Retry-After': '5',
            },
          );
    case 'arguments_invalid':
      return refused(
        `The arguments do not fit the tool: ${denial.problems.slice(0, 5).join('; ')}. Correct them and call again.`,
      );

    case 'scope_missing':
      return error(
        403,
        REMIT_CODES.refused,
        `This operation needs the scope ${denial.scopes.join(' ')}. Authorize it and call again.`,
        {
          'WWW-Authenticate': challenge403({
            metadataUrl,
            scopes: denial.scopes,
            description: 'This operation needs more scope',
            proofAlgorithms,
          }),
        },
      );
    case 'policy_denied':
      return denial.visible
        ? refused(
            'Policy does not allow this call with these arguments. Ask your administrator, quoting the reference; do not retry.',
          )
        : unknownTool();
    case 'content_blocked':
      return refused(
        `The call was not made: ${inWords(denial.classes)}${denial.at ? ` (at ${denial.at.slice(0, 200)})` : ''} may not be sent to this server. ` +
          'Nothing was sent. Do not try to send it in another form; call without it, or ask your administrator, quoting the reference.',
      );
    case 'inspection_failed':
      return refused(
        'The call was not made: what it would send could not be looked at. Nothing was sent. Try again later, or ask your administrator, quoting the reference.',
      );
    case 'approval_needed':
      return refused(
        `This call waits for a person's approval (${denial.approval}, until ${new Date(denial.expiresAt).toISOString()}). ` +
          `Nothing was sent. ${denial.page === null ? '' : `How it stands: ${denial.page} . `}` +
          'Once it is approved, call again with exactly the same arguments.',
      );
    case 'approval_over':
      return refused(endOfApproval(denial));
    case 'approvals_full':
      return refused(
        `You have ${denial.open} calls waiting for approval through this client, and that is the limit. Nobody was asked about this one and nothing was sent. ` +
          `Wait until some are decided; the next one ends by itself at ${new Date(denial.again).toISOString()}.`,
      );
    case 'approval_lost':
      return refused(
        'The approval of this call was used or ended meanwhile. Nothing was sent. Ask for a new one by calling again.',
      );

    case 'step_up':
      return error(
        401,
        REMIT_CODES.unauthenticated,
        `This needs a fresh sign-in or a second factor. Sign in again${denial.maxAgeSeconds === null ? '' : `, at most ${denial.maxAgeSeconds} s before the call`}.`,
        { 'WWW-Authenticate': challengeStepUp({ metadataUrl, proofAlgorithms, ...denial }) },
      );

    case 'rate_limited':
      return error(429, REMIT_CODES.tooMany, `Too many calls. Wait ${denial.retryAfterSeconds} s.`, {
        'Retry-After': String(denial.retryAfterSeconds),
      });
    case 'budget_spent':
      return refused(
        denial.on === 'calls'
          ? `The budget of this tool is spent: no more of it until ${new Date(denial.again).toISOString()}. Nothing was sent. Do not try again before; do something else, or ask your administrator.`
          : `This amount is more than what is left of the budget of this tool until ${new Date(denial.again).toISOString()}. Nothing was sent. Do not try the same again before; ask for less, or ask your administrator.`,
      );
    case 'loop_stopped':
      return refused(
        `You have made exactly this call ${denial.times} times in a row, so it was not made again. Its answer is not going to change: do something else. It is open again after ${denial.pauseSeconds} s without a try.`,
      );
    case 'overloaded':
      return error(
        503,
        REMIT_CODES.unavailable,
        denial.on === 'server'
          ? 'This server has as many calls under way as it may have. Nothing was sent. Try again shortly.'
          : 'The gateway is full. Try again shortly.',
        { 'Retry-After': '1' },
      );
    case 'server_unwell': {
      // As when it cannot be reached: clients show an HTTP 503 as an exception, and nobody reads what it says.
      const text = `This server fails and is left alone for ${denial.retryAfterSeconds} s. Nothing was sent. Try again later.`;
      return facts.family === 'call'
        ? refused(text)
        : error(503, REMIT_CODES.unavailable, text, { 'Retry-After': String(denial.retryAfterSeconds) });
    }
    case 'ledger_unavailable':
      return error(
        503,
        REMIT_CODES.unavailable,
        'The gateway cannot record this call, so it does not make it. Try again later.',
        {
          'Retry-After': '5',
        },
      );
    case 'outcome_unrecorded':
      // No Retry-After: a client that repeats this by itself might do twice what was done once (RL-06).
      return error(
        503,
        REMIT_CODES.unavailable,
        'The call was sent, but what became of it cannot be recorded, so the answer is withheld. Whether it had an effect is unknown: check before you repeat it.',
      );
    case 'guard_failed':
      return error(
        503,
        REMIT_CODES.unavailable,
        'The gateway could not decide about this call, so it refuses. Try again later.',
        {
          'Retry-After': '5',
        },
      );
    default:
      return denial satisfies never;
  }
}

const FAMILY_WORDS: Readonly<Record<string, string>> = {
  secret: 'a credential',
  own_secret: 'a credential',
  honeytoken: 'a credential',
  personal: 'personal data',
  hidden: 'hidden characters',
  link: 'a link',
  instruction: 'text that gives orders',
  media: 'a file',
  copied: 'data of another server',
};

/** A planted secret reads like any other: whoever took it does not learn what it is. */
function inWords(classes: readonly string[]): string {
  const words = classes.map((one) => FAMILY_WORDS[one.split('.')[0] ?? ''] ?? 'so much');
  return [...new Set(words)].join(' and ');
}

/** Nothing was sent: what to say of a request that people did not agree to. */
export function endOfApproval({ approval, how, again }: Extract<Denial, { reason: 'approval_over' }>): string {
  const which = approval === null ? '' : ` (${approval})`;
  const later = again === null ? '' : ` The same call is refused until ${new Date(again).toISOString()}.`;
  switch (how) {
    case 'denied':
      return `The approval of this call was denied${which}. Nothing was sent.${later} Do not ask again for the same; ask for something else, or ask the people concerned.`;
    case 'expired':
      return `Nobody approved this call in time${which}. Nothing was sent, and it will not be. Calling again asks anew.`;
    case 'declined':
      return `Declined by user${which}: the call was taken back. Nothing was sent.`;
    case 'cancelled':
    case 'failed':
      return `The request to approve this call was ended${which}. Nothing was sent. Calling again asks anew.`;
    case 'used':
      return `The approval${which} was used for the same call already. Nothing was sent this time: check what that call did before you ask again.`;
    case 'too_large':
      return 'This call needs a person to approve it, and its arguments are larger than anybody can read. Nothing was sent. Call with less.';
    default:
      return how satisfies never;
  }
}

function withReference(error: WireError, ref: string): Reply {
  const data = isJsonObject(error.data) ? error.data : {};
  return { kind: 'error', error: { ...error, data: { ...data, reference: ref } } };
}
