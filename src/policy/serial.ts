/** Numbers that name a compiled thing for as long as it lives: what was compiled anew has another one, whatever it says. */
let last = 0;
export const nextSerial = (): number => ++last;
