/**
 * The admin API in one table: method, path, scope, roles, handler, summary. Nothing is served that is not a row here
 * (or one of the three open documents of server.ts). The OpenAPI document is generated from it. Long because it is one table.
 */
import type { Role } from '../directory/records.ts';
import { explainAccess } from './access.ts';
import { applyHandlers } from './apply/handlers.ts';
import { activateAgent, addAgent, getAgent, listAgents, putAgent, retireAgent, suspendAgent } from './agents.ts';
import { approveCall, cancelCall, denyCall, getApproval, listApprovals } from './approvals.ts';
import {
  auditCheckpoint,
  auditEntry,
  auditExport,
  auditHashes,
  auditReceipt,
  auditStatus,
  callChain,
  queryAudit,
} from './audit.ts';
import { changesFeed, recordHistory } from './changes.ts';
import {
  addStreamToken,
  deleteStream,
  getStream,
  listStreams,
  putStream,
  removeStreamToken,
} from './events/streams.ts';
import {
  addCredentialVersion,
  getCredential,
  listCredentials,
  putCredential,
  resealCredentials,
  transitionCredential,
} from './credentials.ts';
import { listExceptions } from './exceptions.ts';
import { confirmEmergency, endEmergency, listEmergencies, openEmergency } from './emergencies.ts';
import { getEmergency, reviewEmergency } from './emergency-review.ts';
import { listFindings } from './findings.ts';
import {
  approveGrant,
  cancelGrant,
  denyGrant,
  endGrant,
  getGrant,
  grantEffect,
  listGrants,
  requestGrant,
  resumeGrant,
  suspendGrant,
} from './grants.ts';
import { addHoneytoken, approveRetirement, keepHoneytoken, listHoneytokens, retireHoneytoken } from './honeytokens.ts';
import { approveInspection, getInspection, putInspection } from './inspection.ts';
import { closeIncident, getIncident, listIncidents } from './incidents.ts';
import { addGroup, deleteGroup, getGroup, joinGroup, leaveGroup, listGroups, putGroup } from './groups.ts';
import { claimAdministration } from './claim.ts';
import { addLock, liftLock, listLocks } from './locks.ts';
import { deleteMapping, getMapping, listMappings, putMapping } from './mappings.ts';
import {
  cancelCampaign,
  getCampaign,
  keepGrant,
  listCampaigns,
  openCampaign,
  revokeGrant,
  unusedGrants,
} from './reviews/campaigns.ts';
import { exportCampaign } from './reviews/export.ts';
import { deleteTarget, getTarget, listTargets, putTarget } from './notify/targets.ts';
import { openApiDocument } from './openapi.ts';
import { getOrganisation, putOrganisation } from './organisation.ts';
import { addPerson, getPerson, listPeople, putPerson, whoAmI } from './people.ts';
import {
  activatePolicy,
  checkPolicy,
  deactivatePolicy,
  deletePolicy,
  getPolicy,
  listPolicies,
  policyEffect,
  putPolicy,
  textEffect,
} from './policies.ts';
import { handler, type Handler, type Route, type Scope } from './route.ts';
import { ok } from '../lib/result.ts';
import {
  getConnection,
  listConnections,
  putConnection,
  rotateConnectionToken,
  setConnectionState,
} from './scim/connection-routes.ts';
import { finishLinking, linkAccount, showLink, unlinkAccount } from './person-account.ts';
import { connectServer, finishConnecting } from './server-account.ts';
import { approveScope, deleteScope, getScope, listScopes, putScope } from './scopes.ts';
import {
  deleteServer,
  getServer,
  listServers,
  putServer,
  reassignServer,
  refreshServer,
  switchServer,
  transitionServer,
} from './servers.ts';
import { testPolicies } from './policy-tests.ts';
import { enterShadow, leaveShadow, resetShadow, shadowReport } from './shadow.ts';
import { metrics, status } from './status.ts';
import { previewToken } from './token-preview.ts';
import { serverIdentity } from './server-identity.ts';
import { rollbackTool, toolHistory } from './tool-history.ts';
import { approveTool, proposeTool, withdrawTool } from './tool-review.ts';
import { getTool, listTools } from './tools.ts';
import { addVoid, listVoids, signOutMyself, signOutPerson } from './voids.ts';

export const API_PATH = '/api/v1';

export const SCOPES: Readonly<Record<Scope, string>> = {
  'admin:read': 'See servers, tools, policies, people, approvals and the audit log, as far as your roles allow.',
  'admin:write': 'Change them, as far as your roles allow.',
};

const OVERSEERS: readonly Role[] = ['auditor', 'security_reviewer', 'administrator'];
const STAFF: readonly Role[] = ['operator', ...OVERSEERS];
const REVIEWERS: readonly Role[] = ['security_reviewer'];
const ADMINS: readonly Role[] = ['administrator'];
const SERVER_KEEPERS: readonly Role[] = ['operator', 'administrator'];
const RESPONDERS: readonly Role[] = ['operator', 'security_reviewer', 'administrator'];
const POLICY_AUTHORS: readonly Role[] = ['security_reviewer', 'administrator'];

const { planApply, apply, listSets, setDrift } = applyHandlers(() => ROUTES);

const openApi = handler({
  run: async ({ ctx }) => ok({ body: openApiDocument(ROUTES, SCOPES, ctx.facts.version) }),
});

/** What is changed needs a sign-in of a moment ago, unless the row says `routine`: everyday work, and what must not wait in an emergency. `factor`: such work with a second factor. */
type Row = readonly [Route['method'], string, Scope, Route['roles'], Handler, string, ('routine' | 'factor')?];

// oxfmt-ignore
const ROWS: readonly Row[] = [
  ['GET',    '/me',                                  'admin:read',  'everyone',       whoAmI,           'Who you are here: roles, scopes, how long the token lasts'],
  ['GET',    '/openapi.json',                        'admin:read',  'everyone',       openApi,          'This API as OpenAPI 3.1'],
  ['GET',    '/status',                              'admin:read',  STAFF,            status,           'Revision, freshness, audit log, unsafe settings, records that do not fit'],
  ['GET',    '/metrics',                             'admin:read',  STAFF,            metrics,          'Prometheus metrics'],

  ['GET',    '/findings',                            'admin:read',  STAFF,            listFindings,     'Agents and servers that nobody answers for, old secrets, clients that wait'],
  ['GET',    '/incidents',                           'admin:read',  STAFF,            listIncidents,    'List what was contained and waits for somebody to look at it'],
  ['GET',    '/incidents/:incident',                 'admin:read',  STAFF,            getIncident,      'Read an incident'],
  ['POST',   '/incidents/:incident/close',           'admin:write', POLICY_AUTHORS,   closeIncident,    'Close an incident with what was found; it opens again when the same is seen once more'],
  ['GET',    '/inspection',                          'admin:read',  STAFF,            getInspection,    'What is done about content in either direction, and what is proposed'],
  ['PUT',    '/inspection',                          'admin:write', POLICY_AUTHORS,   putInspection,    'Say what is done about content: what is stricter holds at once, what lets something through waits for somebody else'],
  ['POST',   '/inspection/approve',                  'admin:write', POLICY_AUTHORS,   approveInspection, 'Agree to exactly what is proposed about content; never your own proposal'],
  ['GET',    '/honeytokens',                         'admin:read',  OVERSEERS,        listHoneytokens,  'List planted secrets and where they lie, never their values'],
  ['POST',   '/honeytokens',                         'admin:write', POLICY_AUTHORS,   addHoneytoken,    'Plant a secret: its value is made and shown once, or given'],
  ['POST',   '/honeytokens/:honeytoken/retire',      'admin:write', POLICY_AUTHORS,   retireHoneytoken, 'Propose to look for a planted secret no longer; it is looked for until somebody else agrees'],
  ['POST',   '/honeytokens/:honeytoken/retire/approve', 'admin:write', POLICY_AUTHORS, approveRetirement, 'Agree to exactly what is proposed; never your own proposal'],
  ['DELETE', '/honeytokens/:honeytoken/retire',      'admin:write', POLICY_AUTHORS,   keepHoneytoken,   'Say no to that: it stays planted', 'routine'],
  ['GET',    '/exceptions',                          'admin:read',  STAFF,            listExceptions,   'What is wider than the rules of the house: who answers for it, why, until when'],
  ['POST',   '/me/sign-out',                         'admin:write', 'everyone',       signOutMyself,    'Void every token you have, everywhere', 'routine'],

  ['POST',   '/claim',                               'admin:write', 'newcomer',       claimAdministration, 'Become the first administrator with the code that lies on the machine; gone once there is one'],

  ['GET',    '/organisation',                        'admin:read',  STAFF,            getOrganisation,  'Read the organisation: its issuers, what becomes of new agents'],
  ['PUT',    '/organisation',                        'admin:write', ADMINS,           putOrganisation,  'Change its title and what becomes of new agents'],

  ['GET',    '/people',                              'admin:read',  OVERSEERS,        listPeople,       'List people, a page at a time; look for a name, an identity, the members of a group'],
  ['POST',   '/people',                              'admin:write', ADMINS,           addPerson,        'Add a person'],
  ['GET',    '/people/:person',                      'admin:read',  OVERSEERS,        getPerson,        'Read a person'],
  ['PUT',    '/people/:person',                      'admin:write', ADMINS,           putPerson,        'Change roles, name or state of a person; never your own standing'],
  ['POST',   '/people/:person/sign-out',             'admin:write', RESPONDERS,       signOutPerson,    'Void every token of a person, everywhere', 'routine'],

  ['GET',    '/groups',                              'admin:read',  OVERSEERS,        listGroups,       'List groups with the number of their members'],
  ['POST',   '/groups',                              'admin:write', ADMINS,           addGroup,         'Make a group that no directory keeps'],
  ['GET',    '/groups/:group',                       'admin:read',  OVERSEERS,        getGroup,         'Read a group'],
  ['PUT',    '/groups/:group',                       'admin:write', ADMINS,           putGroup,         'Change the roles of a group; its name only where no directory keeps it'],
  ['DELETE', '/groups/:group',                       'admin:write', ADMINS,           deleteGroup,      'Remove a group that no directory keeps'],
  ['PUT',    '/groups/:group/members/:person',       'admin:write', ADMINS,           joinGroup,        'Put a person into a group that no directory keeps; never yourself'],
  ['DELETE', '/groups/:group/members/:person',       'admin:write', ADMINS,           leaveGroup,       'Take a person out of a group that no directory keeps'],

  ['GET',    '/mappings',                            'admin:read',  OVERSEERS,        listMappings,     'List how tokens of the issuers are read'],
  ['GET',    '/mappings/:mapping',                   'admin:read',  OVERSEERS,        getMapping,       'Read a mapping'],
  ['PUT',    '/mappings/:mapping',                   'admin:write', ADMINS,           putMapping,       'Say how tokens of one issuer are read: tenant, newcomers, roles by claim'],
  ['DELETE', '/mappings/:mapping',                   'admin:write', ADMINS,           deleteMapping,    'Remove a mapping that holds no tenant out'],

  ['GET',    '/agents',                              'admin:read',  STAFF,            listAgents,       'List agents with what is wrong with them'],
  ['POST',   '/agents',                              'admin:write', SERVER_KEEPERS,   addAgent,         'Register a client before its first call; it waits for a review', 'routine'],
  ['GET',    '/agents/:agent',                       'admin:read',  STAFF,            getAgent,         'Read an agent: owner, ceiling, findings, lock, void tokens, held calls'],
  ['PUT',    '/agents/:agent',                       'admin:write', POLICY_AUTHORS,   putAgent,         'Change what is said of an agent: owner, purpose, roles, ceiling'],
  ['POST',   '/agents/:agent/activate',              'admin:write', POLICY_AUTHORS,   activateAgent,    'Review an agent and let it act; refused without owner and purpose'],
  ['POST',   '/agents/:agent/suspend',               'admin:write', RESPONDERS,       suspendAgent,     'Stop an agent for now; its tokens are void', 'routine'],
  ['POST',   '/agents/:agent/retire',                'admin:write', SERVER_KEEPERS,   retireAgent,      'End an agent for good; its tokens are void'],

  ['GET',    '/voids',                               'admin:read',  OVERSEERS,        listVoids,        'List tokens that are void before their end'],
  ['POST',   '/voids',                               'admin:write', RESPONDERS,       addVoid,          'Void the tokens of a person, client, grant or session, or one token', 'routine'],

  ['GET',    '/servers',                             'admin:read',  'everyone',       listServers,      'List servers'],
  ['GET',    '/servers/:server',                     'admin:read',  STAFF,            getServer,        'Read a server with its upstream and standing'],
  ['PUT',    '/servers/:server',                     'admin:write', SERVER_KEEPERS,   putServer,        'Register a server as a draft, or change one and put it back in review', 'routine'],
  ['DELETE', '/servers/:server',                     'admin:write', ADMINS,           deleteServer,     'Delete a draft and its tools', 'routine'],
  ['POST',   '/servers/:server/submit',              'admin:write', SERVER_KEEPERS,   transitionServer('in_review'), 'Put a server before a reviewer', 'routine'],
  ['POST',   '/servers/:server/enable',              'admin:write', POLICY_AUTHORS,   transitionServer('enabled'),   'Let calls through to a server; refused while its identity is incomplete'],
  ['POST',   '/servers/:server/suspend',             'admin:write', RESPONDERS,       transitionServer('suspended'), 'Stop calls to a server for now', 'routine'],
  ['POST',   '/servers/:server/retire',              'admin:write', SERVER_KEEPERS,   transitionServer('retired'),   'End a server for good'],
  ['POST',   '/servers/:server/switches',            'admin:write', RESPONDERS,       switchServer,     'Turn reachable, productionData or writes off, or back on (reviewers, with a recent sign-in)', 'routine'],
  ['POST',   '/servers/:server/owner',               'admin:write', ADMINS,           reassignServer,   'Name who answers for a server from now on; it stays as it is', 'routine'],
  ['GET',    '/servers/:server/identity',            'admin:read',  POLICY_AUTHORS,   serverIdentity,   'What a server is now: the key it shows, or the digest of what is installed'],
  ['POST',   '/servers/:server/refresh',             'admin:write', RESPONDERS,       refreshServer,    'Fetch the definitions of a server now: tools, prompts, resources, templates, instructions', 'routine'],
  ['POST',   '/servers/:server/connect',             'admin:write', SERVER_KEEPERS,   connectServer,    'Begin to connect a server to the account that its calls use: where to go and agree'],
  ['POST',   '/servers/:server/connect/finish',      'admin:write', SERVER_KEEPERS,   finishConnecting, 'Hand in the address the browser was sent to afterwards'],

  ['POST',   '/servers/:server/link',                'admin:write', 'everyone',       linkAccount,      'Begin to link your own account at a server that has one of each person: where to go and agree', 'routine'],
  ['POST',   '/servers/:server/link/finish',         'admin:write', 'everyone',       finishLinking,    'Hand in the address the browser was sent to afterwards', 'routine'],
  ['GET',    '/servers/:server/link',                'admin:read',  'everyone',       showLink,         'Whether you have linked your account at a server'],
  ['DELETE', '/servers/:server/link',                'admin:write', 'everyone',       unlinkAccount,    'Give your account at a server back and forget it', 'routine'],

  ['GET',    '/credentials',                         'admin:read',  STAFF,            listCredentials,  'List credentials towards servers: who answers, for which servers, until when'],
  ['POST',   '/credentials/reseal',                  'admin:write', ADMINS,           resealCredentials, 'Seal every value under the newest key; calls go on'],
  ['GET',    '/credentials/:credential',             'admin:read',  STAFF,            getCredential,    'Read a credential without its value: versions, fingerprints, what keeps it from being enabled'],
  ['PUT',    '/credentials/:credential',             'admin:write', SERVER_KEEPERS,   putCredential,    'Register a credential as a draft, or change one; what a reviewer agreed to goes back in review', 'routine'],
  ['POST',   '/credentials/:credential/versions',    'admin:write', SERVER_KEEPERS,   addCredentialVersion, 'Give it a new value, which is sealed at once, or have its place read again'],
  ['POST',   '/credentials/:credential/submit',      'admin:write', SERVER_KEEPERS,   transitionCredential('in_review'), 'Put a credential before a reviewer', 'routine'],
  ['POST',   '/credentials/:credential/enable',      'admin:write', POLICY_AUTHORS,   transitionCredential('enabled'),   'Let its servers use it; by somebody else than whoever wrote it'],
  ['POST',   '/credentials/:credential/suspend',     'admin:write', RESPONDERS,       transitionCredential('suspended'), 'Stop everything that uses it; tokens got by it are given back', 'routine'],
  ['POST',   '/credentials/:credential/retire',      'admin:write', SERVER_KEEPERS,   transitionCredential('retired'),   'End it for good: sealed values are removed, tokens given back'],

  ['GET',    '/servers/:server/tools',               'admin:read',  STAFF,            listTools,        'List the tools and other items of a server: standing, risk, findings'],
  ['GET',    '/servers/:server/tools/:tool',         'admin:read',  STAFF,            getTool,          'Read an item by its key (tool name, or kind, space, name): observed, approved, the difference, findings'],
  ['POST',   '/servers/:server/tools/:tool/propose', 'admin:write', RESPONDERS,       proposeTool,      'Propose a judgement of exactly the definition with this digest; somebody else approves it', 'routine'],
  ['POST',   '/servers/:server/tools/:tool/approve', 'admin:write', REVIEWERS,        approveTool,      'Approve a proposal of somebody else, or what is only read, about exactly the definition with this digest'],
  ['GET',    '/servers/:server/tools/:tool/history', 'admin:read',  STAFF,            toolHistory,      'What happened to an item, and which approvals a rollback may bring back'],
  ['POST',   '/servers/:server/tools/:tool/rollback','admin:write', REVIEWERS,        rollbackTool,     'Put the last good approval, or the one of this digest, back in force'],
  ['POST',   '/servers/:server/tools/:tool/withdraw','admin:write', RESPONDERS,       withdrawTool,     'Withdraw the approval of an item', 'routine'],

  ['GET',    '/policies',                            'admin:read',  STAFF,            listPolicies,     'List policies'],
  ['POST',   '/policies/check',                      'admin:read',  POLICY_AUTHORS,   checkPolicy,      'Compile and lint policy text without storing it'],
  ['POST',   '/policies/test',                       'admin:read',  STAFF,            testPolicies,     'Run cases against the policies in force, or with a draft among them'],
  ['GET',    '/policies/:policy',                    'admin:read',  STAFF,            getPolicy,        'Read a policy'],
  ['PUT',    '/policies/:policy',                    'admin:write', POLICY_AUTHORS,   putPolicy,        'Store policy text as a draft, after compile and lint', 'routine'],
  ['DELETE', '/policies/:policy',                    'admin:write', POLICY_AUTHORS,   deletePolicy,     'Delete a draft', 'routine'],
  ['GET',    '/policies/:policy/effect',             'admin:read',  OVERSEERS,        policyEffect,     'Who would gain or lose what if the draft came into force, or the policy in force left it'],
  ['POST',   '/policies/:policy/effect',             'admin:read',  POLICY_AUTHORS,   textEffect,       'The same for a text that is not stored'],
  ['POST',   '/policies/:policy/activate',           'admin:write', POLICY_AUTHORS,   activatePolicy,   'Put a draft in force, in place of those it says it replaces, with exactly the effect that was read; never your own draft'],
  ['POST',   '/policies/:policy/deactivate',         'admin:write', POLICY_AUTHORS,   deactivatePolicy, 'Take a policy out of force'],

  ['POST',   '/policies/:policy/shadow',             'admin:write', POLICY_AUTHORS,   enterShadow,      'Ask a draft about live calls from now on; it decides nothing', 'routine'],
  ['DELETE', '/policies/:policy/shadow',             'admin:write', POLICY_AUTHORS,   leaveShadow,      'Ask it no longer', 'routine'],
  ['GET',    '/policies/:policy/shadow',             'admin:read',  OVERSEERS,        shadowReport,     'What it would have said of the calls of this node, where it differs'],
  ['POST',   '/policies/:policy/shadow/reset',       'admin:write', POLICY_AUTHORS,   resetShadow,      'Count anew on this node', 'routine'],

  ['GET',    '/grants',                              'admin:read',  'everyone',       listGrants,       'List grants: all for staff, else what you asked for, have, or answer for'],
  ['POST',   '/grants',                              'admin:write', 'everyone',       requestGrant,     'Ask for access: for yourself, for an agent of yours, for others as a reviewer or an owner of the server', 'routine'],
  ['GET',    '/grants/:grant',                       'admin:read',  'everyone',       getGrant,         'Read a grant'],
  ['GET',    '/grants/:grant/effect',                'admin:read',  'everyone',       grantEffect,      'Who would gain what with it, or lose what without it'],
  ['POST',   '/grants/:grant/approve',               'admin:write', 'everyone',       approveGrant,     'Agree to a request, as a reviewer or an owner of the server; never your own, never for yourself'],
  ['POST',   '/grants/:grant/deny',                  'admin:write', 'everyone',       denyGrant,        'Refuse a request, as a reviewer or an owner of the server', 'routine'],
  ['POST',   '/grants/:grant/cancel',                'admin:write', 'everyone',       cancelGrant,      'Take your request back', 'routine'],
  ['POST',   '/grants/:grant/suspend',               'admin:write', 'everyone',       suspendGrant,     'Stop a grant for now, as a responder or an owner of the server', 'routine'],
  ['POST',   '/grants/:grant/resume',                'admin:write', 'everyone',       resumeGrant,      'Let a suspended grant count again: a fresh decision, by the rules of an approval'],
  ['POST',   '/grants/:grant/end',                   'admin:write', 'everyone',       endGrant,         'End a grant for good, as a responder, an owner of the server, or who has it', 'routine'],

  ['GET',    '/break-glass',                         'admin:read',  STAFF,            listEmergencies,  'List emergencies: open, over, reviewed'],
  ['POST',   '/break-glass',                         'admin:write', RESPONDERS,       openEmergency,    'Ask for access without approvals for at most four hours; nothing is open until a second person confirms', 'routine'],
  ['GET',    '/break-glass/:grant',                  'admin:read',  STAFF,            getEmergency,     'Read an emergency with the calls that were made under it'],
  ['POST',   '/break-glass/:grant/confirm',          'admin:write', 'everyone',       confirmEmergency, 'Open it, as a second person: neither who asked nor who gets it; an operator, reviewer, administrator or owner of the server'],
  ['POST',   '/break-glass/:grant/end',              'admin:write', 'everyone',       endEmergency,     'End it at once, or refuse one that waits', 'routine'],
  ['POST',   '/break-glass/:grant/review',           'admin:write', REVIEWERS,        reviewEmergency,  'Close it afterwards with a note, as somebody who took no part'],

  ['GET',    '/scopes',                              'admin:read',  STAFF,            listScopes,       'List which scopes include others'],
  ['GET',    '/scopes/:scope',                       'admin:read',  STAFF,            getScope,         'Read a scope: what it includes, what is proposed'],
  ['PUT',    '/scopes/:scope',                       'admin:write', POLICY_AUTHORS,   putScope,         'Say what a scope includes: less holds at once, more waits for somebody else'],
  ['POST',   '/scopes/:scope/approve',               'admin:write', POLICY_AUTHORS,   approveScope,     'Agree to exactly what is proposed for a scope; never your own proposal'],
  ['DELETE', '/scopes/:scope',                       'admin:write', POLICY_AUTHORS,   deleteScope,      'Let a scope include nothing any more', 'routine'],

  ['GET',    '/locks',                               'admin:read',  STAFF,            listLocks,        'List locks in force'],
  ['POST',   '/locks',                               'admin:write', RESPONDERS,       addLock,          'Stop a user, agent, server, tool or token now', 'routine'],
  ['DELETE', '/locks/:lock',                         'admin:write', POLICY_AUTHORS,   liftLock,         'Lift a lock'],

  ['GET',    '/event-streams',                       'admin:read',  OVERSEERS,        listStreams,      'List event streams: who may tell us about people, and when they last did'],
  ['GET',    '/event-streams/:stream',               'admin:read',  OVERSEERS,        getStream,        'Read an event stream'],
  ['PUT',    '/event-streams/:stream',               'admin:write', ADMINS,           putStream,        'Add or change an event stream: issuer, keys, audience, delivery, silence'],
  ['DELETE', '/event-streams/:stream',               'admin:write', ADMINS,           deleteStream,     'Remove an event stream; what it voided stays void'],
  ['POST',   '/event-streams/:stream/tokens',        'admin:write', ADMINS,           addStreamToken,   'Make a bearer token by which a transmitter may push; shown once'],
  ['DELETE', '/event-streams/:stream/tokens/:token', 'admin:write', ADMINS,           removeStreamToken,'Revoke a bearer token of a stream'],

  ['GET',    '/reviews',                             'admin:read',  STAFF,            listCampaigns,    'List access reviews and how far they are'],
  ['GET',    '/reviews/unused-grants',               'admin:read',  STAFF,            unusedGrants,     'Grants in force that nobody has used for so many days, with the log entry of the last use'],
  ['GET',    '/reviews/:review',                     'admin:read',  'everyone',       getCampaign,      'Read an access review: each grant with its reviewer, its last use and what was said'],
  ['POST',   '/reviews',                             'admin:write', POLICY_AUTHORS,   openCampaign,     'Open an access review over grants, with a due date'],
  ['POST',   '/reviews/:review/cancel',              'admin:write', POLICY_AUTHORS,   cancelCampaign,   'Give a review up; what was said stays'],
  ['POST',   '/reviews/:review/items/:grant/keep',   'admin:write', 'everyone',       keepGrant,        'Attest that a grant is still needed; never your own'],
  ['POST',   '/reviews/:review/items/:grant/revoke', 'admin:write', 'everyone',       revokeGrant,      'End a grant that is not needed', 'routine'],
  ['GET',    '/reviews/:review/export',              'admin:read',  OVERSEERS,        exportCampaign,   'An access review with the receipt of its digest in the log, to check offline'],

  ['GET',    '/notification-targets',                'admin:read',  STAFF,            listTargets,      'List who is told of what waits, and whether messages arrive'],
  ['GET',    '/notification-targets/:target',        'admin:read',  STAFF,            getTarget,        'Read a notification target'],
  ['PUT',    '/notification-targets/:target',        'admin:write', ADMINS,           putTarget,        'Add or change a notification target: signed webhook or e-mail'],
  ['DELETE', '/notification-targets/:target',        'admin:write', ADMINS,           deleteTarget,     'Stop telling a target'],

  ['GET',    '/scim-connections',                    'admin:read',  OVERSEERS,        listConnections,  'List provisioning connections: who may write people and groups, and when they last spoke'],
  ['GET',    '/scim-connections/:connection',        'admin:read',  OVERSEERS,        getConnection,    'Read a provisioning connection'],
  ['PUT',    '/scim-connections/:connection',        'admin:write', ADMINS,           putConnection,    'Add or change a provisioning connection: identities of its people, silence, whether it may take people over'],
  ['POST',   '/scim-connections/:connection/tokens', 'admin:write', ADMINS,           rotateConnectionToken, 'Make a new bearer token, shown once, and say until when the old ones last'],
  ['POST',   '/scim-connections/:connection/disable','admin:write', ADMINS,           setConnectionState('disabled'), 'Refuse the tokens of a connection from now on', 'routine'],
  ['POST',   '/scim-connections/:connection/enable', 'admin:write', ADMINS,           setConnectionState('active'),   'Accept the tokens of a connection again'],

  ['GET',    '/approvals',                           'admin:read',  'everyone',       listApprovals,    'List held calls that you asked for, decide about or oversee, newest first'],
  ['GET',    '/approvals/:approval',                 'admin:read',  'everyone',       getApproval,      'Read a held call: exactly what will run, for who asked and who decides'],
  ['POST',   '/approvals/:approval/approve',         'admin:write', 'everyone',       approveCall,      'Agree to one held call, once; never your own', 'factor'],
  ['POST',   '/approvals/:approval/deny',            'admin:write', 'everyone',       denyCall,         'Deny one held call', 'factor'],
  ['POST',   '/approvals/:approval/cancel',          'admin:write', 'everyone',       cancelCall,       'Take back a call of your own that is held, or end one that is yours to decide', 'routine'],

  ['GET',    '/audit/entries',                       'admin:read',  OVERSEERS,        queryAudit,       'Search the audit log, newest first'],
  ['GET',    '/audit/entries/:index',                'admin:read',  OVERSEERS,        auditEntry,       'Read one entry'],
  ['GET',    '/audit/entries/:index/receipt',        'admin:read',  OVERSEERS,        auditReceipt,     'The receipt of one entry, to verify offline'],
  ['GET',    '/audit/calls/:call',                   'admin:read',  OVERSEERS,        callChain,        'Every entry of one call, in order'],
  ['GET',    '/audit/export',                        'admin:read',  OVERSEERS,        auditExport,      'Entries in log order, exact bytes, for a bundle'],
  ['GET',    '/audit/hashes',                        'admin:read',  OVERSEERS,        auditHashes,      'Hashes of the Merkle tree, for a bundle'],
  ['GET',    '/audit/checkpoint',                    'admin:read',  OVERSEERS,        auditCheckpoint,  'Sign and return a checkpoint over everything recorded'],
  ['GET',    '/audit/status',                        'admin:read',  STAFF,            auditStatus,      'How the log stands'],

  ['POST',   '/access/explain',                      'admin:read',  STAFF,            explainAccess,    'Would this person be allowed to call this tool, and by which policies'],
  ['POST',   '/access/token',                        'admin:read',  STAFF,            previewToken,     'What a token, or one with these claims, would become here: person, roles by source, agents, what stops it'],
  ['POST',   '/apply/plan',                          'admin:read',  RESPONDERS,       planApply,        'What these resources would change, with every problem of every one; changes nothing'],
  ['POST',   '/apply',                               'admin:write', RESPONDERS,       apply,            'Commit exactly the plan that was seen, in one step or not at all'],
  ['GET',    '/apply/sets',                          'admin:read',  STAFF,            listSets,         'List what was applied from files, by set'],
  ['GET',    '/apply/sets/:set/drift',               'admin:read',  STAFF,            setDrift,         'What differs now from what was applied: field by field, by whom, since when'],

  ['GET',    '/changes',                             'admin:read',  OVERSEERS,        changesFeed,      'Changes of governance state after a revision'],
  ['GET',    '/history/:kind/:id',                   'admin:read',  OVERSEERS,        recordHistory,    'All changes of one record'],
];

export const ROUTES: readonly Route[] = ROWS.map(([method, path, scope, roles, handler, summary, everyday]) => ({
  method,
  path: `${API_PATH}${path}`,
  scope,
  roles,
  handler,
  summary,
  sensitive: scope === 'admin:write' && everyday === undefined,
  factor: everyday === 'factor',
}));
