/**
 * Which IP addresses the gateway may connect to: public ones, and the networks an operator has listed by name.
 * Everything in the IANA special-purpose registries (RFC 6890 and updates), multicast and reserved space is refused;
 * IPv6 is refused by default outside global unicast 2000::/3, so that new special ranges need no update here.
 * Not done here: resolving names (`dial.ts`).
 */
import { BlockList, isIP } from 'node:net';
import { Fault } from '../lib/fault.ts';

type Network = readonly [address: string, prefix: number];

const SPECIAL_V4: readonly Network[] = [
  ['0.0.0.0', 8], // this network
  ['10.0.0.0', 8], // private
  ['100.64.0.0', 10], // carrier-grade NAT; cloud metadata of Alibaba
  ['127.0.0.0', 8], // loopback
  ['168.63.129.16', 32], // Azure's host agent: looks public, is the machine's own control channel
  ['169.254.0.0', 16], // link-local; cloud metadata
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // IETF protocol assignments; cloud metadata of Oracle
  ['192.0.2.0', 24], // documentation
  ['192.31.196.0', 24], // AS112
  ['192.52.193.0', 24], // AMT
  ['192.88.99.0', 24], // 6to4 relays
  ['192.168.0.0', 16], // private
  ['192.175.48.0', 24], // AS112
  ['198.18.0.0', 15], // benchmarking
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved and broadcast
];

/** Mapped, compatible, NAT64 (64:ff9b::), ULA, link-local, site-local and multicast all lie outside of it. */
const GLOBAL_UNICAST_V6: Network = ['2000::', 3];

/** Special space inside global unicast: each of these can carry an IPv4 address or leads nowhere public. */
const SPECIAL_V6: readonly Network[] = [
  ['2001::', 23], // IETF protocol assignments: Teredo, benchmarking, ORCHID
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4
  ['2620:4f:8000::', 48], // AS112
  ['3ffe::', 16], // former 6bone
  ['3fff::', 20], // documentation
];

// One list per family: node's BlockList matches an IPv4-mapped IPv6 address against IPv4 rules, and we want no such bridge.
const specialV4 = blockList(SPECIAL_V4, 'ipv4');
const globalV6 = blockList([GLOBAL_UNICAST_V6], 'ipv6');
const specialV6 = blockList(SPECIAL_V6, 'ipv6');

/** `allowed`: inside a network the operator listed. `special`: refused. */
export type AddressKind = 'public' | 'allowed' | 'special';

/**
 * Classifies addresses under a list of networks in CIDR form (`10.20.0.0/16`, `::1/128`).
 * An IPv4 network never admits the IPv4-mapped IPv6 spelling of its addresses.
 * @throws Fault `dial_rule` when a network is not in CIDR form: a list that cannot be read must not be half used.
 */
export function addressClassifier(allowedNetworks: readonly string[]): (address: string) => AddressKind {
  const networks = allowedNetworks.map(parseNetwork);
  const allowedV4 = blockList(
    networks.filter(([address]) => isIP(address) === 4),
    'ipv4',
  );
  const allowedV6 = blockList(
    networks.filter(([address]) => isIP(address) === 6),
    'ipv6',
  );
  return (address) => {
    // A zone (`fe80::1%eth0`) names an interface of this machine; isIP admits it, we do not.
    const family = address.includes('%') ? 0 : isIP(address);
    if (family === 4) {
      if (allowedV4.check(address, 'ipv4')) return 'allowed';
      return specialV4.check(address, 'ipv4') ? 'special' : 'public';
    }
    if (family === 6) {
      if (allowedV6.check(address, 'ipv6')) return 'allowed';
      return globalV6.check(address, 'ipv6') && !specialV6.check(address, 'ipv6') ? 'public' : 'special';
    }
    return 'special';
  };
}

function parseNetwork(text: string): Network {
  const slash = text.lastIndexOf('/');
  const address = text.slice(0, slash);
  const digits = text.slice(slash + 1);
  const family = slash < 0 || address.includes('%') ? 0 : isIP(address);
  const prefix = /^(?:0|[1-9]\d{0,2})$/.test(digits) ? Number(digits) : Number.NaN;
  if (family === 0 || !(prefix <= (family === 4 ? 32 : 128))) {
    throw new Fault('dial_rule', `"${text}" is not a network; write it as address/prefix, for example 10.20.0.0/16`);
  }
  return [address, prefix];
}

function blockList(networks: readonly Network[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of networks) list.addSubnet(address, prefix, family);
  return list;
}
