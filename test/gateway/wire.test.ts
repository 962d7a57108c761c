/** What a refused caller sees, for every reason there is: one literal row each. A reason without a row does not compile. */
import { describe, expect, test } from 'vitest';
import { isAnonymous, reasonCode, verdictOf } from '../../src/gateway/denial.ts';
import type { Denial, DenialReason } from '../../src/gateway/denial.ts';
import { toReply } from '../../src/gateway/wire.ts';
import type { RefusalFacts, Reply } from '../../src/gateway/wire.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { headerMismatch, invalidParams, invalidRequest, methodNotFound } from '../../src/protocol/errors.ts';

const REF = 'call_01REF';
const METADATA = 'https://gw.example/.well-known/oauth-protected-resource/mcp/default/notes';
const FACTS: RefusalFacts = {
  id: 7,
  facing: { era: 'modern', version: '2026-07-28', serverInfo: { name: 'remit-gateway', version: '1' } },
  family: 'call',
  uri: null,
  ref: REF,
  metadataUrl: METADATA,
  defaultScopes: ['notes:read'],
  aggregate: false,
  proofAlgorithms: null,
  sessionSent: true,
};

/** What must never be shown: each row's denial carries some of these words in the fields meant for the operator. */
const PRIVATE = [
  'lock_01SECRET',
  'sha256:SEEN',
  'sha256:APPROVED',
  'SECRET_PROBLEM',
  'baseline.secret',
  'owner@corp',
  'secret-fault',
  'retired-secret',
];

interface Row {
  readonly denial: Denial;
  /** `result`: an `isError` result the model reads. */
  readonly as: 'error' | 'result';
  readonly status?: number;
  readonly code?: number;
  /** Without the reference. */
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly data?: JsonObject;
  readonly verdict?: 'hold' | 'challenge';
  readonly reason?: string;
}

const refused = (text: string): Pick<Row, 'as' | 'status' | 'code' | 'text'> => ({
  as: 'error',
  status: 403,
  code: 4030,
  text,
});
const unavailable = (text: string, seconds: string): Pick<Row, 'as' | 'status' | 'code' | 'text' | 'headers'> => ({
  as: 'error',
  status: 503,
  code: 5030,
  text,
  headers: { 'Retry-After': seconds },
});
const unknownTool: Pick<Row, 'as' | 'status' | 'code' | 'text'> = {
  as: 'error',
  status: 400,
  code: -32602,
  text: 'Unknown tool.',
};
const signIn = (text: string, presented = true): Pick<Row, 'as' | 'status' | 'code' | 'text' | 'headers'> => ({
  as: 'error',
  status: 401,
  code: 4010,
  text,
  headers: {
    'WWW-Authenticate': `Bearer ${presented ? 'error="invalid_token", error_description="The access token is not valid", ' : ''}resource_metadata="${METADATA}", scope="notes:read"`,
  },
});

const ROWS: { readonly [R in DenialReason]: Row & { readonly denial: { readonly reason: R } } } = {
  token_missing: {
    denial: { reason: 'token_missing' },
    ...signIn('Sign in first: this server needs an access token.', false),
  },
  token_malformed: {
    denial: { reason: 'token_malformed' },
    ...signIn('The access token is not valid here. Get a new one from the authorization server.'),
  },
  token_invalid: {
    denial: { reason: 'token_invalid', problem: 'SECRET_PROBLEM' },
    ...signIn('The access token is not valid here. Get a new one from the authorization server.'),
    reason: 'token_invalid:SECRET_PROBLEM',
  },
  token_in_url: {
    denial: { reason: 'token_in_url' },
    ...signIn('Access tokens are accepted only in the Authorization header. Treat this one as leaked.'),
  },
  keys_unavailable: {
    denial: { reason: 'keys_unavailable', problem: 'SECRET_PROBLEM' },
    ...unavailable('The token cannot be checked right now. Try again shortly.', '5'),
    reason: 'keys_unavailable:SECRET_PROBLEM',
  },
  message_refused: {
    denial: { reason: 'message_refused', error: invalidRequest(7, 'Send one message per request') },
    as: 'error',
    status: 400,
    code: -32600,
    text: 'Send one message per request',
    reason: 'message_refused:-32600',
  },
  method_unknown: {
    denial: { reason: 'method_unknown', error: methodNotFound(7, 'modern') },
    as: 'error',
    status: 404,
    code: -32601,
    text: 'Method not found',
  },
  state_invalid: {
    denial: { reason: 'state_invalid', error: invalidParams(7, 'modern', 'requestState is not valid') },
    as: 'error',
    status: 400,
    code: -32602,
    text: 'requestState is not valid',
  },
  capability_missing: {
    denial: { reason: 'capability_missing', required: { extensions: { 'io.modelcontextprotocol/tasks': {} } } },
    as: 'error',
    status: 400,
    code: -32021,
    text: 'Missing required client capability',
    data: { requiredCapabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } } },
  },
  task_unknown: { denial: { reason: 'task_unknown' }, as: 'error', status: 400, code: -32602, text: 'Unknown task.' },
  header_mismatch: {
    denial: { reason: 'header_mismatch', error: headerMismatch(7, 'Mcp-Param-Region is missing') },
    as: 'error',
    status: 400,
    code: -32020,
    text: 'Header mismatch: Mcp-Param-Region is missing',
    reason: 'header_mismatch:-32020',
  },
  snapshot_stale: {
    denial: { reason: 'snapshot_stale', ageMs: 99 },
    ...unavailable('This gateway cannot confirm that its rules are current, so it refuses. Try again shortly.', '2'),
  },
  snapshot_unsound: {
    denial: { reason: 'snapshot_unsound' },
    ...unavailable('This gateway cannot confirm that its rules are current, so it refuses. Try again shortly.', '2'),
  },
  token_void: {
    denial: { reason: 'token_void', by: 'grant' },
    ...signIn('The access token was revoked. Sign in again.'),
    reason: 'token_void:grant',
  },
  tenant_unknown: {
    denial: { reason: 'tenant_unknown' },
    ...refused('Your account has no access here. Ask your administrator, quoting the reference.'),
  },
  agent_unknown: {
    denial: { reason: 'agent_unknown', client: 'SECRET_CLIENT' },
    ...refused('This client may not be used here yet. Ask your administrator to review it, quoting the reference.'),
  },
  agent_not_active: {
    denial: { reason: 'agent_not_active', state: 'pending' },
    ...refused('This client may not be used here yet. Ask your administrator to review it, quoting the reference.'),
    reason: 'agent_not_active:pending',
  },
  agent_without_owner: {
    denial: { reason: 'agent_without_owner' },
    ...refused('This client may not be used here yet. Ask your administrator to review it, quoting the reference.'),
  },
  source_silent: {
    denial: { reason: 'source_silent', source: 'SECRET_SOURCE' },
    as: 'error',
    status: 503,
    code: 5030,
    text: 'The directory that keeps your account has not been heard of for too long. Ask your administrator, quoting the reference.',
    reason: 'source_silent:SECRET_SOURCE',
  },
  step_up: {
    denial: { reason: 'step_up', maxAgeSeconds: 300, acrValues: ['phr'] },
    as: 'error',
    status: 401,
    code: 4010,
    text: 'This needs a fresh sign-in or a second factor. Sign in again, at most 300 s before the call.',
    headers: {
      'WWW-Authenticate': `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger sign-in is needed", max_age="300", acr_values="phr", resource_metadata="${METADATA}"`,
    },
    verdict: 'challenge',
  },
  break_glass: {
    denial: { reason: 'break_glass' },
    ...refused('This account is for emergencies and administers only. Use your own account to call tools.'),
  },
  person_unknown: {
    denial: { reason: 'person_unknown' },
    ...refused('Your account has no access here. Ask your administrator, quoting the reference.'),
  },
  person_inactive: {
    denial: { reason: 'person_inactive' },
    ...refused('Your account has no access here. Ask your administrator, quoting the reference.'),
  },
  person_without_role: {
    denial: { reason: 'person_without_role' },
    ...refused('Your account has no access here. Ask your administrator, quoting the reference.'),
  },
  locked: {
    denial: { reason: 'locked', lock: 'lock_01SECRET', on: 'user' },
    ...refused('Access is locked by an administrator. Ask them, quoting the reference; do not retry.'),
    reason: 'locked:user:lock_01SECRET',
  },
  server_unknown: {
    denial: { reason: 'server_unknown' },
    as: 'error',
    status: 404,
    code: 4030,
    text: 'There is no such server here. Check the URL.',
  },
  server_not_enabled: {
    denial: { reason: 'server_not_enabled', state: 'retired-secret' },
    ...refused('This server is not in service. Ask its owner, quoting the reference.'),
    reason: 'server_not_enabled:retired-secret',
  },
  server_switched_off: {
    denial: { reason: 'server_switched_off' },
    ...refused('This server is not in service. Ask its owner, quoting the reference.'),
  },
  proof_required: {
    denial: { reason: 'proof_required' },
    ...signIn('This server takes only access tokens that are bound to a key. Get one with DPoP.'),
  },
  session_unknown: {
    denial: { reason: 'session_unknown' },
    as: 'error',
    status: 404,
    code: -32600,
    text: 'Session not found: send initialize to start a new one',
  },
  session_of_another: {
    denial: { reason: 'session_of_another', owner: 'owner@corp' },
    as: 'error',
    status: 404,
    code: -32600,
    text: 'Session not found: send initialize to start a new one',
  },
  tool_unknown: { denial: { reason: 'tool_unknown' }, ...unknownTool },
  tool_unreviewed: { denial: { reason: 'tool_unreviewed' }, ...unknownTool },
  tool_switched_off: {
    denial: { reason: 'tool_switched_off', by: 'writes' },
    ...unknownTool,
    reason: 'tool_switched_off:writes',
  },
  tool_changed: {
    denial: { reason: 'tool_changed', approved: 'sha256:APPROVED', seen: 'sha256:SEEN' },
    ...unknownTool,
  },
  tool_gone: { denial: { reason: 'tool_gone' }, ...unknownTool },
  schema_unusable: { denial: { reason: 'schema_unusable' }, ...unknownTool },
  account_not_linked: {
    denial: { reason: 'account_not_linked', server: 'notes' },
    as: 'result',
    text: 'You have linked no account of yours at this server, so nothing was sent. Link it with `remit server link notes`, then try again.',
  },
  tool_unconfirmed: {
    denial: { reason: 'tool_unconfirmed', fault: 'secret-fault' },
    as: 'result',
    text: 'The server cannot be reached, so nothing was sent. Try again later.',
    reason: 'tool_unconfirmed:secret-fault',
  },
  arguments_invalid: {
    denial: {
      reason: 'arguments_invalid',
      problems: ['a must be a string', 'b is missing', 'c', 'd', 'e', 'NOT SHOWN'],
    },
    as: 'result',
    text: 'The arguments do not fit the tool: a must be a string; b is missing; c; d; e. Correct them and call again.',
  },
  scope_missing: {
    denial: { reason: 'scope_missing', scopes: ['notes:write', 'notes:more'] },
    ...refused('This operation needs the scope notes:write notes:more. Authorize it and call again.'),
    headers: {
      'WWW-Authenticate': `Bearer error="insufficient_scope", scope="notes:write notes:more", resource_metadata="${METADATA}", error_description="This operation needs more scope"`,
    },
    verdict: 'challenge',
  },
  policy_denied: {
    denial: { reason: 'policy_denied', visible: true, because: 'SECRET_PROBLEM', rules: ['baseline.secret'] },
    as: 'result',
    text: 'Policy does not allow this call with these arguments. Ask your administrator, quoting the reference; do not retry.',
    reason: 'policy_denied:SECRET_PROBLEM',
  },
  content_blocked: {
    denial: { reason: 'content_blocked', classes: ['honeytoken.SECRET_ID', 'personal.iban'], at: '/arguments/text' },
    as: 'result',
    text: 'The call was not made: a credential and personal data (at /arguments/text) may not be sent to this server. Nothing was sent. Do not try to send it in another form; call without it, or ask your administrator, quoting the reference.',
    reason: 'content_blocked:honeytoken.SECRET_ID,personal.iban',
  },
  inspection_failed: {
    denial: { reason: 'inspection_failed', detectors: ['SECRET_PROBLEM'] },
    as: 'result',
    text: 'The call was not made: what it would send could not be looked at. Nothing was sent. Try again later, or ask your administrator, quoting the reference.',
    reason: 'inspection_failed:SECRET_PROBLEM',
  },
  approval_needed: {
    denial: { reason: 'approval_needed', page: null, approval: 'apr_1', expiresAt: Date.UTC(2026, 10, 1, 12) },
    as: 'result',
    text: "This call waits for a person's approval (apr_1, until 2026-11-01T12:00:00.000Z). Nothing was sent. Once it is approved, call again with exactly the same arguments.",
    verdict: 'hold',
  },
  approval_over: {
    denial: { reason: 'approval_over', approval: 'apr_1', how: 'denied', again: Date.UTC(2026, 10, 1, 12) },
    as: 'result',
    text: 'The approval of this call was denied (apr_1). Nothing was sent. The same call is refused until 2026-11-01T12:00:00.000Z. Do not ask again for the same; ask for something else, or ask the people concerned.',
    reason: 'approval_over:denied',
  },
  approvals_full: {
    denial: { reason: 'approvals_full', open: 10, again: Date.UTC(2026, 10, 1, 12) },
    as: 'result',
    text: 'You have 10 calls waiting for approval through this client, and that is the limit. Nobody was asked about this one and nothing was sent. Wait until some are decided; the next one ends by itself at 2026-11-01T12:00:00.000Z.',
  },
  approval_lost: {
    denial: { reason: 'approval_lost', approval: 'apr_1' },
    as: 'result',
    text: 'The approval of this call was used or ended meanwhile. Nothing was sent. Ask for a new one by calling again.',
  },
  rate_limited: {
    denial: { reason: 'rate_limited', on: 'person', retryAfterSeconds: 12 },
    as: 'error',
    status: 429,
    code: 4290,
    text: 'Too many calls. Wait 12 s.',
    headers: { 'Retry-After': '12' },
    reason: 'rate_limited:person',
  },
  budget_spent: {
    denial: { reason: 'budget_spent', on: 'calls', again: 1_800_000_000_000 },
    as: 'result',
    text: 'The budget of this tool is spent: no more of it until 2027-01-15T08:00:00.000Z. Nothing was sent. Do not try again before; do something else, or ask your administrator.',
    reason: 'budget_spent:calls',
  },
  loop_stopped: {
    denial: { reason: 'loop_stopped', times: 21, pauseSeconds: 60 },
    as: 'result',
    text: 'You have made exactly this call 21 times in a row, so it was not made again. Its answer is not going to change: do something else. It is open again after 60 s without a try.',
  },
  server_unwell: {
    denial: { reason: 'server_unwell', server: 'notes', retryAfterSeconds: 8 },
    ...unavailable('This server fails and is left alone for 8 s. Nothing was sent. Try again later.', '8'),
    as: 'result',
  },
  overloaded: { denial: { reason: 'overloaded' }, ...unavailable('The gateway is full. Try again shortly.', '1') },
  ledger_unavailable: {
    denial: { reason: 'ledger_unavailable', fault: 'secret-fault' },
    ...unavailable('The gateway cannot record this call, so it does not make it. Try again later.', '5'),
    reason: 'ledger_unavailable:secret-fault',
  },
  outcome_unrecorded: {
    denial: { reason: 'outcome_unrecorded', fault: 'secret-fault' },
    as: 'error',
    status: 503,
    code: 5030,
    text: 'The call was sent, but what became of it cannot be recorded, so the answer is withheld. Whether it had an effect is unknown: check before you repeat it.',
    reason: 'outcome_unrecorded:secret-fault',
  },
  guard_failed: {
    denial: { reason: 'guard_failed', guard: 'SECRET_PROBLEM', fault: 'secret-fault' },
    ...unavailable('The gateway could not decide about this call, so it refuses. Try again later.', '5'),
    reason: 'guard_failed:SECRET_PROBLEM:secret-fault',
  },
};
const ALL = Object.values(ROWS) as readonly Row[];

/** Texts that carry their reference in `data` alone: they are the protocol's own words. */
const PROTOCOL_WORDS = new Set([
  'message_refused',
  'method_unknown',
  'state_invalid',
  'capability_missing',
  'task_unknown',
  'header_mismatch',
  'session_unknown',
  'session_of_another',
]);

const expectError = (reply: Reply, row: Row, status: number, code: number): void => {
  const suffix = PROTOCOL_WORDS.has(row.denial.reason) || code === -32602 ? '' : ` Reference: ${REF}`;
  expect(reply).toEqual({
    kind: 'error',
    error: { httpStatus: status, id: 7, code, message: row.text + suffix, data: { ...row.data, reference: REF } },
    ...(row.headers && { headers: row.headers }),
  });
};

describe('a refused tools/call', () => {
  test.each(ALL.map((row) => [row.denial.reason, row] as const))('%s', (_reason, row) => {
    const reply = toReply(row.denial, FACTS);
    if (row.as === 'error') return expectError(reply, row, row.status!, row.code!);
    expect(reply).toMatchObject({ kind: 'result', id: 7 });
    const { result } = reply as { result: JsonObject };
    expect(result).toMatchObject({
      isError: true,
      content: [{ type: 'text', text: `${row.text} Reference: ${REF}` }],
      _meta: { 'remit/reference': REF },
    });
    return undefined;
  });
});

test('an amount too large for what is left of a budget does not say that nothing is left', () => {
  const reply = toReply({ reason: 'budget_spent', on: 'sum', again: 1_800_000_000_000 }, FACTS);
  expect(reply).toMatchObject({
    result: {
      content: [
        {
          text: `This amount is more than what is left of the budget of this tool until 2027-01-15T08:00:00.000Z. Nothing was sent. Do not try the same again before; ask for less, or ask your administrator. Reference: ${REF}`,
        },
      ],
    },
  });
});

describe('the same refusal of any other method', () => {
  test('a server that cannot be asked is unavailable to a list', () => {
    expect(toReply({ reason: 'tool_unconfirmed', fault: 'x' }, { ...FACTS, family: 'list' })).toMatchObject({
      error: {
        httpStatus: 503,
        code: 5030,
        message: `The server cannot be reached, so its tools are not known. Try again later. Reference: ${REF}`,
      },
      headers: { 'Retry-After': '5' },
    });
  });

  const others = ALL.filter((row) => row.denial.reason !== 'tool_unconfirmed');
  test.each(others.map((row) => [row.denial.reason, row] as const))(
    '%s is an error, never a result',
    (_reason, row) => {
      const reply = toReply(row.denial, { ...FACTS, family: 'list' });
      expectError(reply, row, row.status ?? 403, row.code ?? 4030);
    },
  );
});

describe('every refusal', () => {
  test.each(ALL.map((row) => [row.denial.reason, row] as const))(
    '%s shows the reference and nothing private, in both eras',
    (_reason, row) => {
      for (const facing of [FACTS.facing, { ...FACTS.facing, era: 'legacy', version: '2025-11-25' } as const])
        for (const family of ['call', 'read', 'list', null] as const) {
          const text = JSON.stringify(toReply(row.denial, { ...FACTS, facing, family }));
          expect(text).toContain(REF);
          for (const word of [...PRIVATE, 'NOT SHOWN', row.denial.reason.length > 12 ? row.denial.reason : '\0'])
            expect(text).not.toContain(word);
        }
    },
  );

  test.each(ALL.map((row) => [row.denial.reason, row] as const))(
    '%s has its verdict and its code for the log',
    (reason, row) => {
      expect(verdictOf(row.denial)).toBe(row.verdict ?? 'deny');
      expect(reasonCode(row.denial)).toBe(row.reason ?? reason);
    },
  );

  test('is counted instead of recorded only for those who never signed in', () => {
    expect(ALL.filter(({ denial }) => isAnonymous(denial)).map(({ denial }) => denial.reason)).toEqual([
      'token_missing',
      'token_malformed',
      'token_invalid',
      'token_in_url',
      'keys_unavailable',
    ]);
  });
});

describe('variants', () => {
  test('a tool that may not be seen and every tool that cannot be called read alike', () => {
    const denials: readonly Denial[] = [
      ROWS.tool_unknown.denial,
      ROWS.tool_unreviewed.denial,
      ROWS.tool_changed.denial,
      ROWS.tool_gone.denial,
      ROWS.schema_unusable.denial,
      { ...ROWS.policy_denied.denial, visible: false },
    ];
    for (const era of ['modern', 'legacy'] as const)
      expect(
        new Set(
          denials.map((denial) => JSON.stringify(toReply(denial, { ...FACTS, facing: { ...FACTS.facing, era } }))),
        ).size,
      ).toBe(1);
  });

  test('a lock on the token asks to sign in again, one on the tool is told to the model', () => {
    expect(toReply({ reason: 'locked', lock: 'l', on: 'token' }, FACTS)).toMatchObject({
      kind: 'error',
      error: { httpStatus: 401, code: 4010, message: `The access token was revoked. Sign in again. Reference: ${REF}` },
      headers: { 'WWW-Authenticate': expect.stringContaining('error="invalid_token"') as string },
    });
    expect(toReply({ reason: 'locked', lock: 'l', on: 'tool' }, FACTS)).toMatchObject({
      kind: 'result',
      result: {
        isError: true,
        content: [
          {
            text: `This tool is locked by an administrator. Ask them, quoting the reference; do not retry. Reference: ${REF}`,
          },
        ],
      },
    });
    for (const on of ['agent', 'server'] as const)
      expect(toReply({ reason: 'locked', lock: 'l', on }, FACTS)).toMatchObject({
        kind: 'error',
        error: { httpStatus: 403, code: 4030 },
      });
  });

  test('without a session id a legacy client is told to initialize', () => {
    expect(toReply({ reason: 'session_unknown' }, { ...FACTS, sessionSent: false })).toMatchObject({
      error: { httpStatus: 400, message: 'Missing Mcp-Session-Id header: send initialize first' },
    });
  });

  test('without default scopes the challenge names none', () => {
    const reply = toReply({ reason: 'token_missing' }, { ...FACTS, defaultScopes: [] }) as {
      headers: Record<string, string>;
    };
    expect(reply.headers['WWW-Authenticate']).toBe(`Bearer resource_metadata="${METADATA}"`);
  });

  test('a legacy client reads a protocol error from a 200', () => {
    const facing = { ...FACTS.facing, era: 'legacy', version: '2025-11-25' } as const;
    expect(toReply({ reason: 'tool_unknown' }, { ...FACTS, facing })).toMatchObject({
      error: { httpStatus: 200, code: -32602 },
    });
  });

  test('a notification gets an error without an id, never a result', () => {
    expect(toReply(ROWS.policy_denied.denial, { ...FACTS, id: null })).toMatchObject({
      kind: 'error',
      error: { httpStatus: 403, id: null },
    });
  });
});

describe('a challenge for a proof of possession', () => {
  const facts: RefusalFacts = { ...FACTS, proofAlgorithms: ['ES256', 'EdDSA'] };
  const header = (denial: Denial, name: string): string | undefined => {
    const reply = toReply(denial, facts);
    return reply.kind === 'accepted' ? undefined : reply.headers?.[name];
  };
  const rest = `resource_metadata="${METADATA}", scope="notes:read"`;

  test.each<[Denial, string]>([
    [{ reason: 'token_missing' }, `DPoP algs="ES256 EdDSA", ${rest}`],
    [
      { reason: 'proof_required' },
      `DPoP algs="ES256 EdDSA", error="invalid_token", error_description="The access token is not valid", ${rest}`,
    ],
    [
      { reason: 'token_invalid', problem: 'proof:replayed' },
      `DPoP algs="ES256 EdDSA", error="invalid_dpop_proof", error_description="The proof of possession is not valid for this request", ${rest}`,
    ],
    [
      { reason: 'token_invalid', problem: 'proof:nonce', nonce: 'n-1' },
      `DPoP algs="ES256 EdDSA", error="use_dpop_nonce", error_description="The proof of possession is not valid for this request", ${rest}`,
    ],
    [
      { reason: 'scope_missing', scopes: ['notes:write'] },
      `DPoP algs="ES256 EdDSA", error="insufficient_scope", scope="notes:write", resource_metadata="${METADATA}", error_description="This operation needs more scope"`,
    ],
  ])('names the algorithms: %j', (denial, challenge) => {
    expect(header(denial, 'WWW-Authenticate')).toBe(challenge);
  });

  test('brings the nonce that the next proof must carry, and only then', () => {
    expect(header({ reason: 'token_invalid', problem: 'proof:nonce', nonce: 'n-1' }, 'DPoP-Nonce')).toBe('n-1');
    expect(header({ reason: 'token_invalid', problem: 'proof:time' }, 'DPoP-Nonce')).toBeUndefined();
  });
});
