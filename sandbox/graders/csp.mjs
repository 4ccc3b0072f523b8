// Prints what csp_evaluator finds in the policies that are given, as JSON: severity, directive, words. Below 40 is grave.
import evaluator from "csp_evaluator/dist/evaluator.js";
import parser from "csp_evaluator/dist/parser.js";

const found = process.argv.slice(2).flatMap((text) => new evaluator.CspEvaluator(new parser.CspParser(text).csp).evaluate());
console.log(JSON.stringify(found.map(({ severity, directive, description }) => ({ severity, directive, description }))));
