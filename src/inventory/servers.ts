/**
 * What a server record must be beyond its shape: no literal secrets (NH-04), and destinations that say what they allow. All problems at
 * once, each with its field and a remedy. Not checked here: its life (lifecycle.ts), whether the owner exists, or the address answers.
 */
import { isIP } from 'node:net';
import { holdsLiteralSecret } from '../lib/definition-secrets.ts';
import { floatingProblems } from './floating.ts';
import type { HttpUpstream, Server, SseUpstream, StdioUpstream } from './records.ts';

export interface ServerProblem {
  readonly code:
    | 'server_secret_literal'
    | 'server_network'
    | 'server_egress'
    | 'server_plain_http'
    | 'server_header'
    | 'server_owner'
    | 'server_command'
    | 'server_floating'
    | 'server_twice';
  readonly field: string;
  readonly message: string;
}

/** Empty when the record may be stored. */
export function checkServer(server: Server): ServerProblem[] {
  const owner: ServerProblem[] =
    server.owner.trim() === ''
      ? [{ code: 'server_owner', field: 'owner', message: 'name the person or group who answers for this server' }]
      : [];
  const twice = (['asks', 'extensions', 'dataClasses'] as const).filter(
    (field) => new Set<string>(server[field]).size !== server[field].length,
  );
  return [
    ...owner,
    ...twice.map((field): ServerProblem => ({ code: 'server_twice', field, message: 'names one thing twice' })),
    ...floatingProblems(server),
    ...(server.upstream.transport === 'stdio' ? checkStdio(server.upstream) : checkHttp(server.upstream)),
  ];
}

const SECRET = 'put the secret into the environment or a file of the gateway and refer to it as env:NAME or file:PATH';
const SECRET_NAME =
  /(?:^|[^a-z])(?:api[-_]?key|access[-_]?key|auth|bearer|client[-_]?secret|credentials?|pass(?:word|wd|phrase)?|private[-_]?key|secret|sig|signature|token|pat)(?:$|[^a-z])/i;
/** Values under a secret's name that plainly are none. */
const HARMLESS = /^(?:|true|false|none|null|disabled|enabled|\d{1,5}|\/[\w./-]{1,200})$/i;

function checkHttp(upstream: HttpUpstream | SseUpstream): ServerProblem[] {
  const problems: ServerProblem[] = [];
  const url = new URL(upstream.url);
  if (url.username !== '' || url.password !== '') {
    problems.push({
      code: 'server_secret_literal',
      field: 'upstream.url',
      message: `has a user or password; use a header, and ${SECRET}`,
    });
  }
  for (const [name, value] of url.searchParams) {
    if (isSecret(name, value)) {
      problems.push({
        code: 'server_secret_literal',
        field: 'upstream.url',
        message: `has a secret in its query (${shorten(name)}); use a header, and ${SECRET}`,
      });
    }
  }
  if (holdsLiteralSecret(`${url.host}${url.pathname}${url.hash}`)) {
    problems.push({
      code: 'server_secret_literal',
      field: 'upstream.url',
      message: `contains what looks like a credential; ${SECRET}`,
    });
  }
  if (url.protocol === 'http:' && upstream.allowedNetworks.length === 0) {
    problems.push({
      code: 'server_plain_http',
      field: 'upstream.url',
      message: 'is not encrypted; use https, or list the private network it may reach in allowedNetworks',
    });
  }
  for (const [index, network] of upstream.allowedNetworks.entries()) {
    if (!isNetwork(network)) {
      problems.push({
        code: 'server_network',
        field: `upstream.allowedNetworks.${index}`,
        message:
          'is not a network such as 10.1.0.0/16 or fd00::/8 (an address, a slash, a length of at least 8, of IPv6 at least 7), or one where clouds hand out credentials (169.254.0.0/16)',
      });
    }
  }
  for (const [index, { name }] of upstream.headers.entries()) {
    if (upstream.auth !== undefined && /^(?:authorization|dpop)$/i.test(name)) {
      problems.push({
        code: 'server_header',
        field: `upstream.headers.${index}.name`,
        message: 'belongs to the tokens that the server gets by upstream.auth; leave out one of the two',
      });
    }
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/.test(name) || RESERVED_HEADERS.test(name)) {
      problems.push({
        code: 'server_header',
        field: `upstream.headers.${index}.name`,
        message: 'is not a header that a server record may set (RFC 9110 token; not a framing, MCP or proxy header)',
      });
    }
  }
  return problems;
}

const RESERVED_HEADERS =
  /^(?:host|connection|content-.*|transfer-encoding|upgrade|te|trailer|expect|keep-alive|proxy-.*|mcp-.*|accept|origin|forwarded|x-forwarded-.*)$/i;

function checkEgress({ network, egress, egressNetworks }: StdioUpstream): ServerProblem[] {
  const problems: ServerProblem[] = [];
  if (network === 'host' && egress.length > 0)
    problems.push({
      code: 'server_egress',
      field: 'upstream.egress',
      message: 'holds nothing with the network of the host; set network to none, or leave out the rules',
    });
  for (const [index, { host }] of egress.entries()) {
    // `0x7f.1` has letters, and is an address for every resolver.
    if (URL.parse(`http://${host}/`)?.hostname !== host)
      problems.push({
        code: 'server_egress',
        field: `upstream.egress.${index}.host`,
        message: 'is an address in another spelling, or no name at all; write one host name',
      });
  }
  for (const [index, network] of egressNetworks.entries()) {
    if (!isNetwork(network))
      problems.push({
        code: 'server_network',
        field: `upstream.egressNetworks.${index}`,
        message:
          'is not a network such as 10.1.0.0/16 or fd00::/8 (an address, a slash, a length of at least 8, of IPv6 at least 7), or one where clouds hand out credentials (169.254.0.0/16)',
      });
  }
  return problems;
}

function checkStdio(upstream: StdioUpstream): ServerProblem[] {
  const problems = checkEgress(upstream);
  const [program = ''] = upstream.command;
  if (program !== 'node' && !program.startsWith('/')) {
    problems.push({
      code: 'server_command',
      field: 'upstream.command.0',
      message: 'must be an absolute path or node; there is no shell and no search path',
    });
  }
  for (const [index, argument] of upstream.command.entries()) {
    const [flag, attached] = split(argument);
    const before = upstream.command[index - 1] ?? '';
    const named = before.startsWith('-') && !before.includes('=') ? before : '';
    if (isSecret(attached === undefined ? named : flag, attached ?? argument)) {
      problems.push({
        code: 'server_secret_literal',
        field: `upstream.command.${index}`,
        message: `looks like a secret; ${SECRET}`,
      });
    }
  }
  for (const [name, value] of Object.entries(upstream.env)) {
    if (typeof value === 'string' && isSecret(name, value)) {
      problems.push({
        code: 'server_secret_literal',
        field: `upstream.env.${name}`,
        message: `looks like a secret; ${SECRET}`,
      });
    }
  }
  return problems;
}

/** `--flag=value` as [flag, value]; anything else as [text]. */
function split(argument: string): [string, string?] {
  const at = argument.indexOf('=');
  return at > 0 ? [argument.slice(0, at), argument.slice(at + 1)] : [argument];
}

/** By what it looks like, or by what it is called. */
export function isSecret(name: string, value: string): boolean {
  if (holdsLiteralSecret(value)) return true;
  return SECRET_NAME.test(name) && !HARMLESS.test(value) && !value.startsWith('-');
}

/**
 * A CIDR block of IPv4 or IPv6, no wider than any private network is: two halves of the internet would be all of it. Never of link-local
 * addresses of IPv4: nothing serves there but the metadata of clouds, with credentials of this machine.
 */
export function isNetwork(text: string): boolean {
  const [address = '', length = '', ...more] = text.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0 || !/^[1-9]\d{0,2}$/.test(length)) return false;
  if (version === 4) return Number(length) >= 8 && Number(length) <= 32 && !holdsLinkLocal(address, Number(length));
  return Number(length) >= 7 && Number(length) <= 128;
}

function holdsLinkLocal(address: string, length: number): boolean {
  const [first, second] = address.split('.').map(Number);
  return first === 169 && (length >= 16 ? second === 254 : (second! ^ 254) >> (16 - length) === 0);
}

const shorten = (text: string): string => text.replaceAll(/[^\w.-]/g, '').slice(0, 40);
