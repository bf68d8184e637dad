-- Every item of every store, as the ERP has it now.
SELECT item_no, gtin, descr, dept, retail, tax_cd, store_no, brand, alt_gtins, changed_at
FROM items
